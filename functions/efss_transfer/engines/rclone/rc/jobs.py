"""Where rclone's work is done: calls that wait for a storage, and what is told meanwhile."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from efss_transfer.engines.base import Context
from efss_transfer.engines.rclone.log.parser import LogParser
from efss_transfer.engines.rclone.rc.client import Job, RcClient, RcError
from efss_transfer.model.errors import EngineError
from efss_transfer.model.events import Event, FileDone, InFlight, Phase, Progress
from efss_transfer.model.result import Json, State

# How often it is looked up whether the transfer must end, and what is new.
_LOOK_UP_SECONDS: Final = 0.2
_PROGRESS_SECONDS: Final = 0.5


class TransferInterrupted(Exception):
    """The transfer must end now, in this state."""

    def __init__(self, state: State) -> None:
        super().__init__(state.value)
        self.state = state


class RcCall(NamedTuple):
    """A call of rclone's API, and whatever its maker knows it by."""

    key: Any
    name: str
    parameters: Mapping[str, Any]


class JobRunner:
    """Makes calls that take their time. Its methods are generators: they yield events
    while they wait, and raise Interrupted if the transfer must end.

    However they are left, rclone does not work on it any more, or is dead.
    """

    def __init__(
        self, rc: RcClient, record: LogParser, context: Context, stop_seconds: float
    ) -> None:
        self._rc = rc
        self._record = record
        self._context = context
        self._stop_seconds = stop_seconds
        self._made: Counter[str] = Counter()
        self._collects = False
        self._expected_files = 0
        self._expected_bytes = 0
        self._progress_due = time.monotonic() + _PROGRESS_SECONDS
        self.phase = Phase.COPYING
        self.attempt = 1
        self.give_up: Callable[[], bool] = lambda: False
        """Tells whether what is being done is better stopped."""
        self.after_stop: Callable[[Mapping[str, int]], None] = lambda _: None
        """What to do once work was stopped: it is given the sizes of the files that were
        in flight."""
        self.stats: dict[str, Json] = {}
        """The stats of all work, as rclone gave them last."""

    def collect_garbage(self) -> None:
        """Have rclone collect its garbage from now on, which it does not from its start."""
        if not self._collects:
            self._rc.enable_garbage_collection()
            self._collects = True

    def done(self, call: str, **parameters: Any) -> Generator[Event, None, Job]:
        """Have rclone do something that waits for a storage, until it is done."""
        finished: list[Job] = []
        yield from self.all_done(
            [RcCall(None, call, parameters)], 1, lambda _, work: finished.append(work)
        )
        return finished[0]

    def all_done(
        self, calls: Iterable[RcCall], at_once: int, take: Callable[[Any, Job], None]
    ) -> Generator[Event, None, None]:
        """Make calls, so many at once; `take` is given each with its key when it is done.

        Of several calls none is begun when it is too late to begin with a file.
        """
        self._record.doubt = ""
        running: dict[int, tuple[RcCall, Job]] = {}
        something = threading.Event()
        waiting = iter(calls)
        call = next(waiting, None)
        begun, late = 0, False
        try:
            while True:
                while len(running) < at_once and call is not None:
                    if late := begun > 0 and not self._context.may_start():
                        call = None
                        break
                    work = self._rc.start_job(call.name, call.parameters, something)
                    running[begun] = (call, work)
                    begun += 1
                    call = next(waiting, None)
                if not running:
                    break
                something.wait(_LOOK_UP_SECONDS)
                something.clear()
                for number, (made, work) in list(running.items()):
                    if work.wait(0):
                        del running[number]
                        self._made[made.name] += 1
                        take(made.key, work)
                if running or call is not None:
                    # Not before: what is over in moments ends with its garbage, and to collect
                    # that takes as long as such a copy.
                    self.collect_garbage()
                    self._look_up()
                    yield from self.news()
                    if self.give_up():
                        self._stop(running.values())
                        for made, work in running.values():
                            take(made.key, work)
                        break
        except EngineError:
            raise  # there is nothing left to stop
        except BaseException:  # GeneratorExit too: whoever read the events went away
            self._stop(running.values())
            raise
        finally:
            with suppress(EngineError, RcError):
                self.stats = self._rc.stats()
        for name, times in self._made.items():
            self._record.settle(name, times, self._stop_seconds)
        if late:
            raise TransferInterrupted(State.INCOMPLETE)

    def pause(self, seconds: float) -> Iterator[Event]:
        """Let time pass."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._look_up()
            yield from self.news()
            time.sleep(min(left, _LOOK_UP_SECONDS))

    def news(self) -> Iterator[Event]:
        """What has happened since it was last told."""
        for outcome in self._record.outcomes():
            with self._record.held():
                yield FileDone(outcome)
        if time.monotonic() < self._progress_due:
            return
        stats = self._rc.stats()
        eta = stats.get("eta")
        # rclone's own totals fall for a moment whenever a file is done; a bar must not.
        self._expected_files = max(self._expected_files, int(stats.get("totalTransfers") or 0))
        self._expected_bytes = max(self._expected_bytes, int(stats.get("totalBytes") or 0))
        progress = Progress(
            totals=self._record.totals,
            current_bytes=int(stats.get("bytes") or 0),
            expected_files=self._expected_files,
            expected_bytes=self._expected_bytes,
            speed=float(stats.get("speed") or 0),
            eta_seconds=None if eta is None else float(eta),
            phase=self.phase,
            attempt=self.attempt,
            in_flight=in_flight(stats),
        )
        self._progress_due = time.monotonic() + _PROGRESS_SECONDS
        with self._record.held():
            yield progress

    def _look_up(self) -> None:
        if (state := self._context.end_state()) is not None:
            raise TransferInterrupted(state)

    def _stop(self, running: Collection[tuple[RcCall, Job]]) -> None:
        """Stop the work and wait for it, so that rclone removes what is half written."""
        self._record.end()
        self._rc.limit_timeout(self._stop_seconds)
        until = time.monotonic() + self._stop_seconds
        with suppress(EngineError, RcError):
            sizes = {file.path: file.size for file in in_flight(self._rc.stats())}
            self._rc.stop_jobs()
            for call, work in running:
                self._made[call.name] += 1
                work.wait(max(0, until - time.monotonic()))
            for name, times in self._made.items():
                self._record.settle(name, times, max(0, until - time.monotonic()))
            self.after_stop({path: size for path, size in sizes.items() if size is not None})


def in_flight(stats: Mapping[str, Any]) -> tuple[InFlight, ...]:
    """The files that are being copied, from `core/stats`."""
    files = []
    for entry in stats.get("transferring") or ():
        size = int(entry.get("size", -1))
        files.append(
            InFlight(
                str(entry.get("name", "")), int(entry.get("bytes") or 0), None if size < 0 else size
            )
        )
    return tuple(files)
