"""`efss-transfer serve`: the function in the foreground."""

from __future__ import annotations

import os
import socket
import sys
from errno import EADDRINUSE
from pathlib import Path

import click

from efss_transfer.config.environment import PREFIX
from efss_transfer.config.settings import DEFAULT_TRANSFERS, SPARE_THREADS


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address or host name to listen on."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port to listen on; 0 for a free one, which the log names once it serves.",
)
def serve(host: str, port: int) -> None:
    """Serve the function in the foreground, until Ctrl-C or SIGTERM.

    The log says "serving at" and the address once it answers requests, and "stopped" at the end.
    Configure it by environment variables, see docs/reference/settings.md. At 127.0.0.1 only this
    machine can reach it. For all other clients, put a gateway with TLS in front of it.

    \b
    Example:
      efss-transfer serve --port 9000
    """
    if not host or host.startswith(("unix:", "fd:")):
        # gunicorn listens on all addresses for an empty host, and not on TCP for these prefixes.
        raise click.UsageError("--host must be an address or a host name.")
    environment = dict(os.environ)
    # Set for other programs too; here it would replace the server by Flask's debugger, which
    # lets every client run code.
    environment.pop("DEBUG", None)
    # A person reads the log of this command; set the variable to collect it as JSON.
    environment.setdefault(f"{PREFIX}LOG_FORMAT", "text")
    transfers = environment.get(f"{PREFIX}CONCURRENT_TRANSFERS", "")
    wanted = int(transfers) if transfers.isdecimal() and len(transfers) < 6 else DEFAULT_TRANSFERS
    # Without spare threads a full service would leave callers waiting instead of answering `busy`.
    environment.setdefault("THREADS", str(wanted + max(SPARE_THREADS, DEFAULT_TRANSFERS)))
    _check_address(host, port)
    # Replace this process, so that signals and the exit code are the server's.
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


def _check_address(host: str, port: int) -> None:
    """Refuse an address that is taken or not this machine's: gunicorn would try for five seconds,
    and say it ten times.
    """
    bare = host.removeprefix("[").removesuffix("]")
    try:
        # As gunicorn chooses it: a name is one of IPv4.
        with socket.socket(socket.AF_INET6 if ":" in bare else socket.AF_INET) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((bare, port))
    except OSError as error:
        hint = (
            " Another program uses it: choose another --port." if error.errno == EADDRINUSE else ""
        )
        raise click.ClickException(
            f"Cannot listen on {_authority(host)}:{port} ({error.strerror}).{hint}"
        ) from None


def _authority(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
