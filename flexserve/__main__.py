"""The command `flexserve`, also as `python -m flexserve`."""

from __future__ import annotations

import sys

from flexserve.errors import INTERRUPTED


def main() -> None:
    """Run the command line that the process was given. Ctrl-C is quiet from the first import on."""
    try:
        from flexserve.cli import execute
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(execute(sys.argv[1:]))


if __name__ == "__main__":
    main()
