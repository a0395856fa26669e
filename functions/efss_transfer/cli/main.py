"""`efss-transfer`: the command. Each subcommand imports its dependencies when it runs."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import PurePath
from typing import Any, Final

import click

from efss_transfer import __version__
from efss_transfer.cli.commands.check import check
from efss_transfer.cli.commands.copy import copy, run
from efss_transfer.cli.commands.endpoints import endpoints
from efss_transfer.cli.commands.init import init
from efss_transfer.cli.commands.ls import ls
from efss_transfer.cli.commands.merge import merge
from efss_transfer.cli.commands.plan import plan
from efss_transfer.cli.commands.serve import serve
from efss_transfer.cli.commands.site import site
from efss_transfer.cli.commands.status import status
from efss_transfer.cli.commands.validate import print_schema, validate

_NAME: Final = "efss-transfer"
_VARIABLE: Final = "_EFSS_TRANSFER_COMPLETE"
_SIGNALLED: Final = 128
_SIGINT, _SIGPIPE = 2, 13


class _RootGroup(click.Group):
    """The root command: every error becomes a line and an exit code, never a traceback."""

    def main(self, *arguments: Any, **named: Any) -> Any:
        """Run as click does, but exit with 130 after Ctrl-C and report a defect in one line."""
        for stream in (sys.stdout, sys.stderr):
            # A file name that the terminal cannot encode must not end a copy.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        try:
            asked = {"prog_name": _NAME, "complete_var": _VARIABLE, **named}
            ended = super().main(*arguments, **{**asked, "standalone_mode": False})
            sys.stdout.flush()
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            click.echo("Cancelled.", err=True)
            sys.exit(_SIGNALLED + _SIGINT)
        except BrokenPipeError:
            # The reader has gone. Python must not write the rest of the buffer at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(_SIGNALLED + _SIGPIPE)
        except Exception as error:  # noqa: BLE001 - no person should see a traceback
            where = traceback.extract_tb(error.__traceback__)[-1]
            # Without the exception's text, which may quote a secret.
            click.echo(
                f"{_NAME}: internal error ({type(error).__name__} in "
                f"{PurePath(where.filename).name}:{where.lineno}); please report this bug.",
                err=True,
            )
            sys.exit(1)
        if not named.get("standalone_mode", True):
            return ended
        sys.exit(ended if isinstance(ended, int) else 0)


@click.group(cls=_RootGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Copy files between storages, by a service or from this machine.

    \b
    Examples:
      efss-transfer endpoints add cloud
      efss-transfer check cloud: archive:2026 --write
      efss-transfer ls cloud:Measurements
      efss-transfer copy cloud:Measurements archive:2026
      efss-transfer run request.json
      efss-transfer validate request.json
    """


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for a shell.

    \b
    Examples:
      efss-transfer completion bash >~/.local/share/bash-completion/completions/efss-transfer
      efss-transfer completion fish >~/.config/fish/completions/efss-transfer.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"No completion for {shell}: use bash, zsh or fish.")
    click.echo(found(main, {}, _NAME, _VARIABLE).source())


_COMMANDS = (
    *(copy, run, status, endpoints, ls, check, plan, merge, validate),
    *(print_schema, init, site, serve),
)
for _command in _COMMANDS:
    main.add_command(_command)
