"""`efss-transfer`: the command. What each of its commands needs is loaded when it runs."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any, Final

import click

from efss_transfer import __version__
from efss_transfer.cli.commands.copy import copy, run
from efss_transfer.cli.commands.merge import merge
from efss_transfer.cli.commands.plan import plan
from efss_transfer.cli.commands.serve import serve
from efss_transfer.cli.commands.site import site
from efss_transfer.cli.commands.validate import print_schema, validate

_NAME: Final = "efss-transfer"
_VARIABLE: Final = "_EFSS_TRANSFER_COMPLETE"
_SIGNALLED: Final = 128
_SIGINT, _SIGPIPE = 2, 13


class _Whole(click.Group):
    """The whole command: however it ends, it is a line and an exit code, never a traceback."""

    def main(self, *arguments: Any, **named: Any) -> Any:
        """As click has it, but Ctrl-C is 130, and a defect is told in a line."""
        for stream in (sys.stdout, sys.stderr):
            # A name that the terminal has no letters for must not end a copy.
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
            # Nobody reads any more. What is still buffered must not be tried again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(_SIGNALLED + _SIGPIPE)
        except Exception as error:  # noqa: BLE001 - no person should see a traceback
            where = traceback.extract_tb(error.__traceback__)[-1]
            # Without its text: nobody knows what it quotes.
            click.echo(
                f"{_NAME}: a defect of this command ({type(error).__name__} in "
                f"{os.path.basename(where.filename)}:{where.lineno}); please report it.",  # noqa: PTH119
                err=True,
            )
            sys.exit(1)
        if not named.get("standalone_mode", True):
            return ended
        sys.exit(ended if isinstance(ended, int) else 0)


@click.group(cls=_Whole, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Copy between storages, by a service or from here.

    \b
    Examples:
      efss-transfer copy cloud:Measurements archive:2026
      efss-transfer run request.json
      efss-transfer validate request.json
    """


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Write what completes this command in a shell.

    \b
    Examples:
      efss-transfer completion bash >~/.local/share/bash-completion/completions/efss-transfer
      efss-transfer completion fish >~/.config/fish/completions/efss-transfer.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError("There is nothing for this shell.")
    click.echo(found(main, {}, _NAME, _VARIABLE).source())


for _command in (copy, run, plan, merge, validate, print_schema, site, serve):
    main.add_command(_command)
