"""Options that say by which service a transfer is done, and the transfer itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from efss_transfer.settings import PREFIX

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class Ways:
    """By which service, how often, and how it is shown. `token` is in no repr."""

    url: str | None
    local: bool
    token_file: Path | None
    token_fd: int | None
    ca_bundle: Path | None
    retries: int
    max_invocations: int | None
    error_on_no_transfer: bool
    as_json: bool
    quiet: bool


_OPTIONS: Final = (
    click.option(
        "--url",
        envvar=f"{PREFIX}URL",
        help=f"The service; or {PREFIX}URL.",
        metavar="URL",
    ),
    click.option("--local", is_flag=True, help="No service: copy from within this process."),
    click.option(
        "--token-file",
        type=click.Path(path_type=Path),
        help=f"Where the bearer token stands; or {PREFIX}TOKEN has it.",
    ),
    click.option("--token-fd", type=click.IntRange(0), help="An open descriptor to read it from."),
    click.option(
        "--ca-bundle",
        type=click.Path(exists=True, path_type=Path),
        help="Whose certificates to trust; or REQUESTS_CA_BUNDLE.",
    ),
    click.option(
        "--retries",
        type=click.IntRange(0, 1000),
        default=3,
        show_default=True,
        help="How often to try again what can pass by itself.",
    ),
    click.option(
        "--max-invocations",
        type=click.IntRange(1),
        help="Go on with what the service's time ran out for at most so often, the first time "
        "included. Otherwise as long as files arrive.",
    ),
    click.option(
        "--error-on-no-transfer", is_flag=True, help="Exit with 9 if there was nothing to copy."
    ),
    click.option("--json", "as_json", is_flag=True, help="For programs: events as lines of JSON."),
    click.option("--quiet", "-q", is_flag=True, help="Only the summary."),
)


def service_options(command: _Command) -> _Command:
    """Give a command these options; it is called with them as one, `ways`."""

    @wraps(command)
    def called(**given: Any) -> Any:
        ways = Ways(**{name: given.pop(name) for name in Ways.__dataclass_fields__})
        # Before anybody is asked for a password.
        if ways.url is None and not ways.local:
            raise click.UsageError(
                f"Which service? Give --url, or set {PREFIX}URL, or use --local."
            )
        if ways.local and _given("url"):
            raise click.UsageError("Either --url or --local.")
        return command(**given, ways=ways)

    for option in reversed(_OPTIONS):
        called = option(called)
    return called  # type: ignore[return-value]


def transfer(request: Mapping[str, Any], ways: Ways) -> int:
    """Do it, show it, and give the exit code."""
    from efss_transfer import completion, exit_codes, summary
    from efss_transfer.client_errors import ClientError
    from efss_transfer.completion import Bounds
    from efss_transfer.display import JsonLines, display, printable
    from efss_transfer.events import Finished
    from efss_transfer.interruption import Interrupted, interruptible
    from efss_transfer.result import Result, State

    carry_on = completion.may_be_carried_on(_option(request, "overwrite"))
    bounds = Bounds(ways.retries, ways.max_invocations, carry_on)
    shown = display(as_json=ways.as_json, quiet=ways.quiet)
    ended: Result | None = None
    invocations = 1
    with interruptible() as interruption:
        try:
            with shown:
                interruption.gently = ways.local

                def stopped() -> State | None:
                    return None if interruption.signal is None else State.CANCELLED

                def told(again: completion.Again) -> None:
                    nonlocal invocations
                    invocations = again.number
                    shown.again(again)

                stream = _stream(ways, stopped)
                run = completion.events(
                    partial(stream, request), bounds, told=told, sleep=interruption.sleep
                )
                try:
                    for event in run:
                        shown.event(event)
                        if isinstance(event, Finished):
                            ended = event.result
                finally:
                    run.close()
        except Interrupted:
            text = "Cancelled; the same command goes on where it stopped."
            if isinstance(shown, JsonLines):
                error = ClientError(text, code="cancelled", retryable=True)
                shown.document({"event": "problem", **_problem(error)})
            else:
                summary.warn(text)
            return interruption.exit_code
        except ClientError as error:
            if isinstance(shown, JsonLines):
                shown.document({"event": "problem", **_problem(error)})
            else:
                lines = [printable(line) for line in str(error).splitlines()]
                summary.warn("\n".join([f"efss-transfer: {error.code}: {lines[0]}", *lines[1:]]))
                if error.result is not None and error.result.totals.transferred:
                    summary.tell(error.result, invocations)
            return exit_codes.of_error(error)
    if ended is None:
        raise AssertionError("a transfer ended without a result")
    if not ways.as_json:
        summary.tell(ended, invocations)
        if ended.state is State.INCOMPLETE and not carry_on:
            summary.warn("With --overwrite always it was not gone on with: it would begin anew.")
        elif ended.state is State.INCOMPLETE and invocations != ways.max_invocations:
            summary.warn(
                f"No file arrived in {completion.STALLED} invocations: the service's time may be "
                "too short for a file, or to list and compare all of them. Try a part of them "
                "at a time, or give it more time."
            )
    if interruption.signal is not None:
        return interruption.exit_code
    return exit_codes.of_result(ended, nothing_is_an_error=ways.error_on_no_transfer)


def _stream(ways: Ways, stopped: Callable[[], Any]) -> Callable[[Mapping[str, Any]], Any]:
    """What sends a request once: to the service, or to this process."""
    token = _token(ways)
    if ways.local:
        from efss_transfer.local import Local

        return Local(token=token, interrupted=stopped).stream
    from urllib.parse import urlsplit

    from efss_transfer.client import Client

    url = ways.url or ""
    try:
        client = Client(
            url,
            token=token,
            verify=None if ways.ca_bundle is None else str(ways.ca_bundle),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        click.echo("warning: http:// is not encrypted: passwords can be read on the way.", err=True)
    return client.stream


def _given(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def _token(ways: Ways) -> str | None:
    from efss_transfer.user_endpoints import from_descriptor, from_file

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
    # What is wrong with a request, the service says; here it must only not break anything.
    options = request.get("options")
    return str(options.get(name, "")) if isinstance(options, Mapping) else ""


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
