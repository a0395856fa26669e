"""Clients for the services that the command line names, and their bearer token."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

import click

from efss_transfer.cli.formatting import printable
from efss_transfer.cli.inputs import secret_from_descriptor, secret_from_file
from efss_transfer.cli.options import ConnectionOptions, LookOptions
from efss_transfer.config.environment import PREFIX

if TYPE_CHECKING:
    from efss_transfer.cli.in_process import InProcessService
    from efss_transfer.client.client import Client
    from efss_transfer.client.errors import ClientError

    AnyService: TypeAlias = Client | InProcessService

_Answer = TypeVar("_Answer")
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
    return ask_first_reachable(factories, lambda service: service.plan(request))


def ask_first_reachable(
    factories: Sequence[Callable[[], AnyService]], ask: Callable[[AnyService], _Answer]
) -> _Answer:
    """Return what the first service answers that can be reached. Raises ClientError."""
    from efss_transfer.client.errors import ServiceUnreachable

    for factory in factories[:-1]:
        with suppress(ServiceUnreachable):
            return ask(factory())
    return ask(factories[-1]())


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


def look_services(look: LookOptions) -> Sequence[Callable[[], AnyService]]:
    """Return what makes the client of each service, or of this process with --local.

    Raises click.UsageError and ClientError.
    """
    if not look.local:
        return clients(look)
    from efss_transfer.cli.in_process import InProcessService

    local = InProcessService(token=read_token(look))
    return [lambda: local]


def problem(error: ClientError) -> dict[str, Any]:
    """Return an error as a document for programs."""
    if error.document:
        return dict(error.document)
    return {"code": error.code, "retryable": error.retryable, "detail": str(error)}


def show_problem(error: ClientError, name: str) -> None:
    """Show an error to a person: at which endpoint, its code, and what to do."""
    lines = [printable(line) for line in str(error).splitlines()] or [""]
    click.echo(f"{printable(name)}: {error.code}: {lines[0]}", err=True)
    for line in lines[1:]:
        click.echo(line, err=True)
