"""Errors that are the user's to mend."""

from __future__ import annotations

INTERRUPTED = 130  # exit status after Ctrl-C, as shells have it: 128 + SIGINT


class UserError(Exception):
    """Bad input: one line that names the thing, the rule and the way out. The command line prints it and exits 2."""
