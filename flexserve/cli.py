"""The command line's entry: finds the sub-command, and turns what goes wrong into one line and an exit status.

Exit statuses: 0 done, 1 the command's own verdict is bad (an attack got through) or nobody reads the output any more,
2 bad input or usage, 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING

import click

from emulator.errors import StaleBuildError
from flexserve.errors import INTERRUPTED, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence


COMMANDS = {
    "attack": "flexserve.commands.attack",
    "bench": "flexserve.commands.bench",
    "exec": "flexserve.commands.exec",
    "gdb": "flexserve.commands.gdb",
    "pack": "flexserve.commands.pack",
    "run": "flexserve.commands.run",
    "step": "flexserve.commands.step",
    "trace": "flexserve.commands.trace",
}


class Commands(click.Group):
    """Imports a sub-command's module (which has the command under the same name) only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flexserve")
def cli() -> None:
    """Serve a language model from flexible secure memory, on an emulated TrustZone phone."""


def execute(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status; errors of the user's are one line on stderr."""
    try:
        status = cli.main(list(arguments), prog_name="flexserve", standalone_mode=False)
        sys.stdout.flush()  # here, where a closed pipe can still be answered quietly
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "flexserve"
        return fail(f"{error.format_message().rstrip('.')}; see `{where} --help`")
    except (UserError, StaleBuildError, click.ClickException) as error:
        return fail(error.format_message() if isinstance(error, click.ClickException) else str(error))
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status if isinstance(status, int) else 0


def fail(message: str) -> int:
    """Say what is wrong in one line, whatever line breaks the message came with."""
    print("flexserve:", " ".join(message.split()), file=sys.stderr)
    return 2
