"""A transfer as a command does it: by which services, shown, and with an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from efss_transfer.cli.options import ServiceOptions
from efss_transfer.config.environment import PREFIX

if TYPE_CHECKING:
    from efss_transfer.cli.in_process import InProcessService
    from efss_transfer.cli.signals import Interruption
    from efss_transfer.client.client import Client
    from efss_transfer.client.resume import Resumed
    from efss_transfer.model.events import Event
    from efss_transfer.model.result import Result

_PARALLEL: Final = 4
_RESULT_BYTES: Final = 4095  # and the line's end: a Pod's termination message has no more
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def transfer(request: Mapping[str, Any], ways: ServiceOptions) -> int:
    """Do it, show it, and give the exit code."""
    from efss_transfer.cli import exit_codes, summary
    from efss_transfer.cli.progress import JsonEvents, display, printable
    from efss_transfer.cli.signals import SignalReceived, interruptible
    from efss_transfer.client import resume
    from efss_transfer.client.errors import ClientError
    from efss_transfer.model.events import Finished
    from efss_transfer.model.result import State

    if ways.shard is not None:
        selection = {**_member(request, "selection"), "shard": ways.shard.to_json()}
        request = {**request, "selection": selection}
    carry_on = resume.skips_existing_files(_option(request, "overwrite"))
    shown = display(as_json=ways.as_json, quiet=ways.quiet)
    ended: Result | None = None
    invocations = 1
    with interruptible() as interruption:
        try:
            with shown:
                interruption.gently = ways.local

                def told(again: resume.Resumed) -> None:
                    nonlocal invocations
                    invocations += 1
                    shown.again(again)

                run = _run(request, ways, carry_on, interruption, told)
                try:
                    for event in run:
                        shown.event(event)
                        if isinstance(event, Finished):
                            ended = event.result
                finally:
                    run.close()
        except SignalReceived:
            text = "Cancelled; the same command goes on where it stopped."
            if isinstance(shown, JsonEvents):
                error = ClientError(text, code="cancelled", retryable=True)
                shown.document({"event": "problem", **_problem(error)})
            else:
                summary.warn(text)
            return interruption.exit_code
        except ClientError as error:
            _keep(error.result, ways)
            if isinstance(shown, JsonEvents):
                shown.document({"event": "problem", **_problem(error)})
            else:
                lines = [printable(line) for line in str(error).splitlines()]
                summary.warn("\n".join([f"efss-transfer: {error.code}: {lines[0]}", *lines[1:]]))
                if error.result is not None and error.result.totals.transferred:
                    summary.tell(error.result, invocations)
            return exit_codes.of_error(error)
    if ended is None:
        raise AssertionError("a transfer ended without a result")
    _keep(ended, ways)
    if not ways.as_json:
        summary.tell(ended, invocations)
        if ended.state is State.INCOMPLETE and not carry_on:
            summary.warn("With --overwrite always it was not gone on with: it would begin anew.")
        elif ended.state is State.INCOMPLETE and invocations != ways.max_invocations:
            summary.warn(
                f"No file arrived in {resume.STALLED} invocations: the service's time may be "
                "too short for a file, or to list and compare all of them. Try a part of them "
                "at a time, or give it more time."
            )
    if interruption.signal is not None:
        return interruption.exit_code
    return exit_codes.of_result(ended, nothing_is_an_error=ways.error_on_no_transfer)


def _run(
    request: Mapping[str, Any],
    ways: ServiceOptions,
    carry_on: bool,
    interruption: Interruption,
    told: Callable[[Resumed], None],
) -> Generator[Event, None, None]:
    """The events of the transfer, as it is or as shards."""
    from efss_transfer.client import resume
    from efss_transfer.client.resume import RetryPolicy
    from efss_transfer.model.result import State

    def stopped() -> State | None:
        return None if interruption.signal is None else State.CANCELLED

    policy = RetryPolicy(ways.retries, ways.max_invocations, carry_on)
    services = _services(ways, stopped)
    if ways.shards is None:
        stream = services[0]().stream
        return resume.events(
            partial(stream, request), policy, on_resume=told, sleep=interruption.sleep
        )
    from efss_transfer.client import parallel_shards

    count = ways.shards
    if not count:
        planned = _planned(services, {**request, "plan": {**_member(request, "plan")}})
        count = int(planned["shards"]["count"])
        request = {name: it for name, it in request.items() if name != "plan"}
        if not (ways.as_json or ways.quiet):
            text = f"{planned['files']} files are to be copied, as {count} shards."
            click.echo(text, err=True)
    parallel = ways.parallel or _PARALLEL * len(services)
    return parallel_shards.events(
        request,
        [lambda service=service: service().stream for service in services],  # type: ignore[misc]
        parallel_shards.Division(count, parallel),
        policy,
        on_resume=told,
        stopped=lambda: stopped() is not None,
    )


def _planned(
    services: list[Callable[[], Client | InProcessService]], request: Mapping[str, Any]
) -> dict[str, Any]:
    """The plan of the first service that can be reached. Raises ClientError."""
    from efss_transfer.client.errors import ServiceUnreachable

    for service in services[:-1]:
        with suppress(ServiceUnreachable):
            return service().plan(request)
    return services[-1]().plan(request)


def _keep(ended: Result | None, ways: ServiceOptions) -> None:
    """Write the result where --result says."""
    from efss_transfer.client import merge
    from efss_transfer.model.encoding import encode_json

    if ways.result is None or ended is None:
        return
    if ways.shard is not None:
        ended = replace(ended, shard=ways.shard)
    try:
        # Not beside it and then renamed: a Pod's termination message is a mount.
        ways.result.write_bytes(encode_json(merge.short(ended, _RESULT_BYTES).to_json()) + b"\n")
    except OSError as error:
        click.echo(f"warning: {ways.result} cannot be written ({error.strerror}).", err=True)


def _services(
    ways: ServiceOptions, stopped: Callable[[], Any]
) -> list[Callable[[], Client | InProcessService]]:
    """What makes each service's client, or the service in this process. Raises UsageError."""
    token = _token(ways)
    if ways.local:
        from efss_transfer.cli.in_process import InProcessService

        local = InProcessService(token=token, interrupted=stopped)
        return [lambda: local]
    from urllib.parse import urlsplit

    from efss_transfer.client.client import Client

    verify = None if ways.ca_bundle is None else str(ways.ca_bundle)
    made: list[Callable[[], Client | InProcessService]] = []
    for url in ways.url:
        try:
            Client(url, token=token).close()
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        parts = urlsplit(url)
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            click.echo(
                "warning: http:// is not encrypted: passwords can be read on the way.", err=True
            )
        made.append(partial(Client, url, token=token, verify=verify))
    return made


def _token(ways: ServiceOptions) -> str | None:
    from efss_transfer.cli.endpoints_file import from_descriptor, from_file

    if ways.token_file is not None and ways.token_fd is not None:
        raise click.UsageError("Either --token-file or --token-fd.")
    if ways.token_file is not None:
        token, where = from_file(ways.token_file), "--token-file"
    elif ways.token_fd is not None:
        token, where = from_descriptor(ways.token_fd), "--token-fd"
    else:
        return os.environ.get(f"{PREFIX}TOKEN") or None
    if not token.strip():
        raise click.UsageError(f"There is no token to be read from what {where} names.")
    return token.strip()


def _option(request: Mapping[str, Any], name: str) -> str:
    return str(_member(request, "options").get(name, ""))


def _member(request: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    # What is wrong with a request, the service says; here it must only not break anything.
    found = request.get(name)
    return found if isinstance(found, Mapping) else {}


def _problem(error: Any) -> dict[str, Any]:
    told = {"code": error.code, "retryable": error.retryable, "detail": str(error)}
    if error.document:
        told = dict(error.document)
    if error.result is not None:
        # Of the invocations before.
        told["result"] = error.result.to_json()
    return told


def read_input(file: str) -> bytes:
    """A file's content, or stdin's for `-`. Raises click.UsageError."""
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read ({error.strerror}).") from None
