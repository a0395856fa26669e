"""A transfer by rclone, from the request to the result.

boot `rclone rcd` -> POST config/create, twice -> POST the copy -> look after its job
-> POST config/delete -> end the daemon -> tell what became of every file
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from efss_transfer.config.settings import Settings
from efss_transfer.engines.base import Context, Health, Survey
from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.rclone.log.error_codes import classify
from efss_transfer.engines.rclone.log.parser import LogParser
from efss_transfer.engines.rclone.process import run_as, sandbox
from efss_transfer.engines.rclone.process.binary import find_binary, start_hashing, verify_binary
from efss_transfer.engines.rclone.process.daemon import running_daemon
from efss_transfer.engines.rclone.process.network import UNGUARDED
from efss_transfer.engines.rclone.process.standby import BootedDaemon, Standby, boot
from efss_transfer.engines.rclone.rc import config
from efss_transfer.engines.rclone.rc.client import RcClient, RcError
from efss_transfer.engines.rclone.rc.jobs import TransferInterrupted
from efss_transfer.engines.rclone.rc.remotes import RemotePath, remote_paths
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.report import exit_code, report
from efss_transfer.engines.rclone.transfer import tuning
from efss_transfer.engines.rclone.transfer.job import Transfer
from efss_transfer.engines.rclone.transfer.path_kind import CopyRefused
from efss_transfer.engines.rclone.transfer.survey import Surveyor, dry_run
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.errors import EngineError, EngineUnavailable
from efss_transfer.model.events import Event, FileDone, Finished, Started
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import Failure, Result, State, VerifyMode, now

OLDEST: Final = (1, 75, 0)
"""The oldest rclone whose messages and calls this engine knows."""


class RcloneEngine:
    """Copies with a private rclone daemon for each transfer.

    Making it raises ConfigurationError if rclone cannot run as the user who is set, and
    logs how far rclone is confined here.
    """

    name = "rclone"
    unguarded = UNGUARDED

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._versions: dict[Path, str] = {}
        self._running = 0
        self._lock = threading.Lock()
        run_as.find_account(settings.rclone.user)
        self._measures = sandbox.measures(settings, by_port=True)
        sandbox.log_measures(self._measures)
        # Begun with the first question: whoever makes this may fork the processes that serve.
        self._standby = Standby(settings, self._binary) if settings.rclone.standby else None
        with suppress(EngineUnavailable):  # said by whatever needs it, and at /healthz
            start_hashing(find_binary(settings.rclone.binary))

    def run(
        self, request: TransferRequest, context: Context, surveyor: Surveyor | None = None
    ) -> Generator[Event, None, None]:
        """Copy, as the protocol `Engine` says; what a `surveyor` looks at comes after that.

        The result comes after the daemon's end: only then has its log been read to the
        last line, so that the totals are exact, and only then is nothing left behind.
        """
        started, began = now(), time.monotonic()
        binary = self._binary()
        cleaner = Redactor(request.source.secrets | request.destination.secrets)
        log = LogParser(outcomes := FileOutcomes(), cleaner)
        transfer: Transfer | None = None
        state: State | None = None
        try:
            with self._counted(), self._daemon(binary, request, context, log) as ready:
                rc, way = ready.rc, ready.route
                self._check_version(binary, rc)
                config.check_filters(rc, request.selection)
                source, destination = remote_paths(
                    request,
                    lambda type_: {
                        **way.remote_parameters(type_),
                        **tuning.parameters(
                            type_,
                            self._settings.memory_bytes,
                            verified=request.options.verify is not VerifyMode.NONE,
                        ),
                    },
                )
                with _remotes(rc, source, destination, self._settings.rclone.stop_seconds):
                    if rc.first_response_at is not None and rc.first_response_at > began:
                        context.observer.booted(rc.first_response_at - began)
                    # Skipped files are told at DEBUG only. Calls are logged with their
                    # parameters there, so the credentials had to be handed over before.
                    rc.set_log_level("DEBUG")
                    run = RunContext(
                        rc, log, outcomes, cleaner, context, self._settings.rclone.stop_seconds
                    )
                    transfer = Transfer(run, request, self._settings, self._running)
                    yield Started(self.name, started)
                    yield from transfer.copy(source, destination)
                    if surveyor is not None:
                        folder = transfer.folder_of(source)
                        yield from surveyor.measure(run, folder, destination)
        except TransferInterrupted as interrupted:
            state = interrupted.state
        except CopyRefused as refused:
            outcomes.add_final_error(refused.failure)
        except RcError as error:
            # Where a side is known at all: what is refused here was a parameter's value.
            outcomes.add_final_error(classify(error.text, log.last_opened_side, cleaner))
        except EngineError as error:
            if transfer is None:
                raise
            outcomes.add_final_error(Failure("engine_failed", str(error), error.retryable))
            # Whatever had arrived or failed by then: this is no fault of a storage's.
            state = State.FAILED
        outcomes.close()
        for outcome in outcomes.drain():
            yield FileDone(outcome)
        yield Finished(self._result(started, outcomes, state, transfer, binary, cleaner))

    def survey(
        self, request: TransferRequest, context: Context, *, measure: bool
    ) -> Generator[Event, None, Survey]:
        """Look, as the protocol `Engine` says: a dry run, whose files are counted.

        That lists both sides as the copy does, a file at a time, so that it is right about
        what is there already, about every filter, and about a single file, and holds no more
        than the copy would.
        """
        surveyor = Surveyor(measure_rate=measure)
        result: Result | None = None
        for event in surveyor.count(self.run(dry_run(request), context, surveyor)):
            if isinstance(event, Finished):
                result = event.result
            else:
                yield event
        if result is None:
            raise AssertionError("a run ended without a result")
        return surveyor.survey(result)

    def health(self) -> Health:
        """Whether rclone can be found and booted here, and its version.

        Booted, because a binary that is there may still not run (another architecture,
        no memory); only once, because that does not change.
        """
        if self._standby is not None:
            self._standby.prepare()
        try:
            binary = self._binary()
            if binary not in self._versions:
                with (
                    running_daemon(binary, self._settings, lambda _: None) as daemon,
                    RcClient(daemon.socket_path, self._settings.rclone.boot_seconds) as rc,
                ):
                    self._check_version(binary, rc)
        except (EngineError, RcError) as error:
            return Health(usable=False, detail=str(error), sandbox=self._measures)
        return Health(usable=True, version=self._versions[binary], sandbox=self._measures)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """One of those that run here at the same time."""
        with self._lock:
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1

    @contextmanager
    def _daemon(
        self, binary: Path, request: TransferRequest, context: Context, log: LogParser
    ) -> Iterator[BootedDaemon]:
        """The daemon of this transfer: the one that stands by, or one that is booted now."""
        if self._standby is None:
            with boot(binary, self._settings, log.take, context.egress, request) as ready:
                yield ready
            return
        spare = self._standby.take(binary, request, context.egress)
        try:
            with (
                spare.use(log.take, context.egress)
                if spare is not None
                else boot(binary, self._settings, log.take, context.egress, request)
            ) as ready:
                yield ready
        finally:
            # Not before: while this transfer runs, the next would only take its time.
            self._standby.prepare()

    def close(self) -> None:
        """End what stands by."""
        if self._standby is not None:
            self._standby.close()

    def _binary(self) -> Path:
        """The rclone to run, which is a known one, and can be run by whom it is to be."""
        binary = find_binary(self._settings.rclone.binary)
        verify_binary(binary, self._settings.rclone.sha256)
        run_as.check_executable(binary, self._settings.rclone.user)
        return binary

    def _check_version(self, binary: Path, rc: RcClient) -> None:
        if binary in self._versions:
            return
        version = rc.version()
        numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
        if numbers is None or tuple(map(int, numbers.groups())) < OLDEST:
            raise EngineUnavailable(
                f"rclone {'.'.join(map(str, OLDEST))} or later is needed; "
                f"there is {version[:40] or 'one that does not tell its version'}."
            )
        self._versions[binary] = version

    def _result(
        self,
        started: datetime,
        outcomes: FileOutcomes,
        state: State | None,
        transfer: Transfer | None,
        binary: Path,
        cleaner: Redactor,
    ) -> Result:
        totals, errors = outcomes.totals, outcomes.errors
        failed = "engine_failed"
        if state is None:
            if not errors:
                state = State.SUCCEEDED
            else:
                state = State.PARTIAL if totals.transferred + totals.skipped else State.FAILED
                failed = errors[0].code
        codes = {State.SUCCEEDED: None, State.FAILED: failed}
        status = transfer.status if transfer else {}
        stats = transfer.stats if transfer else {}
        code = exit_code(state, str(status.get("error", "")), stats, errors)
        return Result(
            state=state,
            engine=self.name,
            totals=totals,
            started=started,
            finished=now(),
            code=codes.get(state, state.value),
            errors=errors,
            attempts=transfer.attempts if transfer else 1,
            verification=transfer.verification if transfer else None,
            engine_report=report(
                self._versions[binary],
                code,
                status,
                stats,
                cleaner,
                transfer.tuning if transfer else None,
            ),
        )


@contextmanager
def _remotes(
    rc: RcClient, source: RemotePath, destination: RemotePath, stop_seconds: float
) -> Iterator[None]:
    """Both remotes, or the one that both sides share, for the length of the block."""
    recorded: list[str] = []
    try:
        for remote in (source.remote, destination.remote):
            if remote.name not in recorded:
                recorded.append(remote.name)
                rc.create_remote(remote.name, remote.backend, remote.parameters)
        yield
    finally:
        rc.limit_timeout(stop_seconds)
        for name in reversed(recorded):
            # What is not deleted ends with the daemon, in whose memory alone it is.
            with suppress(EngineError, RcError):
                rc.delete_remote(name)
