"""`efss-transfer serve`: the function in the foreground."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from efss_transfer.config.environment import PREFIX
from efss_transfer.config.settings import DEFAULT_TRANSFERS, SPARE_THREADS


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where it listens.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="0 for a free one, which is then told.",
)
def serve(host: str, port: int) -> None:
    """Serve the function in the foreground, until Ctrl-C or SIGTERM.

    Settings are the environment variables in docs/reference/settings.md. At 127.0.0.1 only this
    machine reaches it; a gateway with TLS stands before all else.

    \b
    Example:
      efss-transfer serve --port 9000
    """
    if not host or host.startswith(("unix:", "fd:")):
        # gunicorn takes an empty host for every address, and these words for no address.
        raise click.UsageError("--host must be an address or a name.")
    environment = dict(os.environ)
    # Other programs read DEBUG too; here it would swap the server for Flask's debugger, which
    # lets whoever reaches the port run code.
    environment.pop("DEBUG", None)
    # A person reads this log; whoever hands it to a machine says so.
    environment.setdefault(f"{PREFIX}LOG_FORMAT", "text")
    transfers = environment.get(f"{PREFIX}CONCURRENT_TRANSFERS", "")
    wanted = int(transfers) if transfers.isdecimal() and len(transfers) < 6 else DEFAULT_TRANSFERS
    # With no thread to spare a full service would let callers hang, and not say `busy`.
    environment.setdefault("THREADS", str(wanted + max(SPARE_THREADS, DEFAULT_TRANSFERS)))
    if port:
        click.echo(f"efss-transfer: serving at http://{_authority(host)}:{port}/", err=True)
    else:
        # Only gunicorn learns which port it got, and tells it at this level.
        environment["GUNICORN_LOG_LEVEL"] = "info"
        click.echo(f"efss-transfer: serving at a free port of {host}", err=True)
    sys.stderr.flush()
    # In place of this process: signals and the exit code are the server's.
    os.execve(  # noqa: S606 - its argv is constant but for what was checked
        sys.executable,
        [
            sys.executable,
            "-m",
            "functions_framework",
            f"--source={Path(__file__).parents[2] / 'runtimes' / 'flask' / 'function.py'}",
            "--target=transfer",
            "--signature-type=http",
            f"--host={_authority(host)}",
            f"--port={port}",
        ],
        environment,
    )


def _authority(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
