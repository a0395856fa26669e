"""Clients for the services that the command line names, and their bearer token."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

import click

from efss_transfer.cli.inputs import secret_from_descriptor, secret_from_file
from efss_transfer.cli.options import ConnectionOptions
from efss_transfer.config.environment import PREFIX

if TYPE_CHECKING:
    from efss_transfer.cli.in_process import InProcessService
    from efss_transfer.client.client import Client

    AnyService: TypeAlias = Client | InProcessService

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def clients(options: ConnectionOptions) -> list[Callable[[], Client]]:
    """Return a factory of clients for each URL. Raises click.UsageError."""
    # Imported here: requests takes longer to load than `efss-transfer --help` takes to run.
    from efss_transfer.client.client import Client

    token = read_token(options)
    verify = None if options.ca_bundle is None else str(options.ca_bundle)
    factories: list[Callable[[], Client]] = []
    for url in options.url:
        try:
            Client(url, token=token).close()
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        parts = urlsplit(url)
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            click.echo(
                f"warning: http://{parts.hostname} is not encrypted: others on the network can "
                "read the passwords. Use https.",
                err=True,
            )
        factories.append(partial(Client, url, token=token, verify=verify))
    return factories


def plan_by_first_reachable(
    factories: Sequence[Callable[[], AnyService]], request: dict[str, Any]
) -> dict[str, Any]:
    """Return the plan of the first service that can be reached. Raises ClientError."""
    from efss_transfer.client.errors import ServiceUnreachable

    for factory in factories[:-1]:
        with suppress(ServiceUnreachable):
            return factory().plan(request)
    return factories[-1]().plan(request)


def read_token(options: ConnectionOptions) -> str | None:
    """Return the bearer token of the options or the environment. Raises click.UsageError."""
    if options.token_file is not None and options.token_fd is not None:
        raise click.UsageError("Use either --token-file or --token-fd, not both.")
    if options.token_file is not None:
        token = secret_from_file(options.token_file)
        option = f"--token-file {options.token_file}"
    elif options.token_fd is not None:
        token = secret_from_descriptor(options.token_fd)
        option = f"--token-fd {options.token_fd}"
    else:
        return os.environ.get(f"{PREFIX}TOKEN", "").strip() or None
    if not token.strip():
        raise click.UsageError(f"{option} is empty or cannot be read.")
    return token.strip()
