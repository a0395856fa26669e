"""Run one transfer for a command: send it, show its progress, and return the exit code."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from efss_transfer.cli.options import ServiceOptions

if TYPE_CHECKING:
    from efss_transfer.cli.output_files import OutputFiles
    from efss_transfer.cli.progress import Display
    from efss_transfer.cli.services import AnyService
    from efss_transfer.cli.signals import Interruption
    from efss_transfer.client.errors import ClientError
    from efss_transfer.client.resume import Resumed, RetryPolicy
    from efss_transfer.client.service_pool import Send
    from efss_transfer.model.events import Event
    from efss_transfer.model.result import FileOutcome, Result

_PARALLEL_SHARDS: Final = 4  # for each service
_RETRIES: Final = 3


def transfer(request: Mapping[str, Any], service: ServiceOptions) -> int:
    """Run the transfer, show its progress and summary, and return the exit code."""
    from efss_transfer.cli import exit_codes
    from efss_transfer.cli.output_files import OutputFiles
    from efss_transfer.cli.progress import display
    from efss_transfer.cli.signals import SignalReceived, interruptible
    from efss_transfer.client.errors import ClientError

    if service.shard is not None:
        selection = {**_member(request, "selection"), "shard": service.shard.to_json()}
        request = {**request, "selection": selection}
    shown = display(as_json=service.as_json, quiet=service.quiet)
    files = OutputFiles(service)
    with interruptible() as interruption:
        run = _Run(request, service, shown, files, interruption)
        try:
            result = run.result()
        except SignalReceived:
            run.show_cancelled()
            return interruption.exit_code
        except ClientError as error:
            run.show_failure(error)
            return exit_codes.of_error(error)
    run.show_end(result)
    if interruption.signal is not None:
        return interruption.exit_code
    return exit_codes.of_result(result, nothing_is_an_error=service.error_on_no_transfer)


class _Run:
    """One transfer: its request, its display, and the number of its invocations."""

    def __init__(
        self,
        request: Mapping[str, Any],
        service: ServiceOptions,
        shown: Display,
        files: OutputFiles,
        interruption: Interruption,
    ) -> None:
        from efss_transfer.client import resume

        self._request = request
        self._service = service
        self._shown = shown
        self._files = files
        self._interruption = interruption
        overwrite = str(_member(request, "options").get("overwrite", ""))
        self._resumable = resume.skips_existing_files(overwrite)
        self._invocations = 1
        self._last_with_files = 0
        self._would_copy: list[FileOutcome] = []

    def result(self) -> Result:
        """Copy, and return the result. Raises ClientError and SignalReceived."""
        from efss_transfer.model.events import FileDone, Finished

        result: Result | None = None
        with self._shown:
            self._interruption.polled = self._service.local
            stream = self._events()
            try:
                for event in stream:
                    self._shown.event(event)
                    self._files.event(event)
                    if isinstance(event, Finished):
                        result = event.result
                    elif isinstance(event, FileDone):
                        self._note(event.outcome)
            finally:
                stream.close()
        if result is None:
            raise AssertionError("a transfer ended without a result")
        return result

    def _note(self, outcome: FileOutcome) -> None:
        """Keep what the summary needs of a file's outcome."""
        from efss_transfer.cli import summary
        from efss_transfer.model.result import FileState, Reason

        if outcome.state is FileState.TRANSFERRED:
            self._last_with_files = self._invocations
        elif outcome.reason is Reason.DRY_RUN and len(self._would_copy) < summary.MAX_NAMES:
            self._would_copy.append(outcome)

    def show_end(self, result: Result) -> None:
        """Write the files of the options, and the summary to the terminal."""
        from efss_transfer.cli import summary
        from efss_transfer.client import resume
        from efss_transfer.model.result import State

        self._files.end(result, summary.lines(result, self._invocations, self._advice()))
        if self._service.as_json:
            return
        summary.show(result, self._invocations, self._advice(), self._would_copy)
        if result.state is not State.INCOMPLETE:
            return
        if not self._resumable:
            summary.warn("Not resumed: --overwrite always would copy everything again.")
        elif self._invocations == self._service.max_invocations:
            return
        elif self._service.shards is None and (
            self._last_with_files > self._invocations - resume.STALLED
        ):
            summary.warn(
                f"Stopped: {resume.STALLED} invocations copied only files that earlier ones had "
                "copied. The destination shows them with other sizes or times than the source, or "
                "not at all. Look at a file there, and try --compare size."
            )
        else:
            summary.warn(
                f"Stopped: no file arrived in {resume.STALLED} invocations. The service's time "
                "limit may be too short to copy one file, or to list and compare all files. "
                "Select fewer files, or raise the limit."
            )

    def show_failure(self, error: ClientError) -> None:
        """Show an error, and the result of the invocations before it."""
        from efss_transfer.cli import summary
        from efss_transfer.cli.formatting import printable

        lines = [printable(line) for line in str(error).splitlines()]
        lines[0] = f"efss-transfer: {error.code}: {lines[0]}"
        self._files.end(error.result, lines)
        text = "\n".join(lines)
        _show_error(self._shown, error, text)
        if not self._service.as_json and error.result and error.result.totals.transferred:
            summary.show(error.result, self._invocations, self._advice())

    def show_cancelled(self) -> None:
        """Show that a signal ended the transfer before its result."""
        from efss_transfer.client.errors import ClientError

        text = f"Copy cancelled. {self._advice()}".rstrip()
        self._files.end(None, [text])
        _show_error(self._shown, ClientError(text, code="cancelled", retryable=True), text)

    def _advice(self) -> str:
        """Return how to continue, or nothing if the same command would copy everything again."""
        from efss_transfer.cli import summary

        return summary.RUN_AGAIN if self._resumable else ""

    def _resumed(self, resumed: Resumed) -> None:
        self._invocations += 1
        self._shown.resumed(resumed)
        self._files.resumed(resumed)

    def _events(self) -> Generator[Event, None, None]:
        """Return the events of the transfer, in one piece or in shards."""
        from efss_transfer.client import resume

        service = self._service
        policy = resume.RetryPolicy(
            _RETRIES if service.retries is None else service.retries,
            service.max_invocations,
            self._resumable,
            # A shard of a service that is gone goes to another one.
            unreached=service.retries is not None or service.shards is not None,
        )
        factories = self._factories()
        if service.shards is not None:
            return self._events_of_shards(factories, policy)
        stream = partial(factories[0]().stream, self._request)
        sleep = self._interruption.sleep
        return resume.events(stream, policy, on_resume=self._resumed, sleep=sleep)

    def _events_of_shards(
        self, factories: Sequence[Callable[[], AnyService]], policy: RetryPolicy
    ) -> Generator[Event, None, None]:
        from efss_transfer.client import parallel_shards

        request = self._request
        count = self._service.shards
        if not count:
            request, count = self._planned(factories)
        parallel = self._service.parallel or _PARALLEL_SHARDS * len(factories)
        return parallel_shards.events(
            request,
            [partial(_stream_of, factory) for factory in factories],
            parallel_shards.Division(count, parallel),
            policy,
            on_resume=self._resumed,
            stopped=lambda: self._interruption.signal is not None,
        )

    def _planned(
        self, factories: Sequence[Callable[[], AnyService]]
    ) -> tuple[Mapping[str, Any], int]:
        """Return the request without its plan options, and the shards that a plan suggests."""
        from efss_transfer.cli.formatting import files
        from efss_transfer.cli.services import plan_by_first_reachable

        asked = {**self._request, "plan": {**_member(self._request, "plan")}}
        plan = plan_by_first_reachable(factories, asked)
        count = int(plan["shards"]["count"])
        if not (self._service.as_json or self._service.quiet):
            shards = "1 shard" if count == 1 else f"{count} shards"
            click.echo(f"Copying {files(plan['files'])} in {shards}.", err=True)
        return {name: it for name, it in self._request.items() if name != "plan"}, count

    def _factories(self) -> Sequence[Callable[[], AnyService]]:
        """Return what makes each service's client. Raises click.UsageError."""
        from efss_transfer.cli import services
        from efss_transfer.model.result import State

        if not self._service.local:
            return services.clients(self._service)
        from efss_transfer.cli.in_process import InProcessService

        def cancelled() -> State | None:
            return None if self._interruption.signal is None else State.CANCELLED

        token = services.read_token(self._service)
        local = InProcessService(token=token, interrupted=cancelled)
        return [lambda: local]


def _show_error(shown: Display, error: ClientError, text: str) -> None:
    """Show an error: a JSON document for programs, `text` for people."""
    from efss_transfer.cli import summary
    from efss_transfer.cli.progress import JsonEvents

    if isinstance(shown, JsonEvents):
        shown.document({"event": "problem", **_problem(error)})
    else:
        summary.warn(text)


def _member(request: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    # The service reports an invalid request; the command only has to survive it.
    found = request.get(name)
    return found if isinstance(found, Mapping) else {}


def _stream_of(factory: Callable[[], AnyService]) -> Send:
    return factory().stream


def _problem(error: ClientError) -> dict[str, Any]:
    document = {"code": error.code, "retryable": error.retryable, "detail": str(error)}
    if error.document:
        document = dict(error.document)
    if error.result is not None:
        # Of the invocations before the error.
        document["result"] = error.result.to_json()
    return document
