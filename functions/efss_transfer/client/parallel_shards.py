"""Copy the shards of one request in parallel, by one service or by a pool of them.

Each worker thread takes one shard after another and resumes it until it is complete. Workers put
messages into one queue; the caller's thread reads it and yields the events of one transfer, with
the merged result last.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from efss_transfer.client import merge, progress, resume
from efss_transfer.client.errors import ClientError, RequestRefused
from efss_transfer.client.resume import Resumed, RetryPolicy
from efss_transfer.client.service_pool import PooledInvocation, Request, Send, ServicePool
from efss_transfer.model.events import Event, Finished, Progress, Started
from efss_transfer.model.result import Result, Shard, State

# A shard that every service is too busy for is requeued so often before it fails as busy.
_REQUEUED: Final = 20
_BUSY_SECONDS: Final = 2.0
_CANCEL_SECONDS: Final = 5.0
_QUEUED_MESSAGES: Final = 1000
_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Division:
    """The number of shards, and how many of them run at a time."""

    count: int
    parallel: int


def events(
    request: Request,
    services: Sequence[Callable[[], Send]],
    division: Division,
    policy: RetryPolicy,
    *,
    on_resume: Callable[[Resumed], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Generator[Event, None, None]:
    """Yield the events of a transfer that is copied as shards.

    Each of `services` makes a sender to one service of the pool. When a shard fails, the others
    continue. Closing the generator cancels what runs, and so does `stopped` once it returns true.
    Raises ClientError if the request is refused before any shard has started.
    """
    workers = _Workers(request, services, division, policy, stopped)
    workers.start()
    try:
        yield from _Transfer(division.count, on_resume).events(workers)
    finally:
        workers.end()


@dataclass(frozen=True)
class _Reported:
    """A shard's event."""

    index: int
    event: Event


@dataclass(frozen=True)
class _Resuming:
    """A shard's request is about to be sent again."""

    index: int
    resumed: Resumed


@dataclass(frozen=True)
class _ShardFailed:
    """A shard has ended without a result."""

    index: int
    error: ClientError


@dataclass(frozen=True)
class _WorkerCrashed:
    """A defect, to be raised in the caller's thread."""

    defect: BaseException


@dataclass(frozen=True)
class _WorkerEnded:
    """A worker has no more shards."""


_Message = _Reported | _Resuming | _ShardFailed | _WorkerCrashed | _WorkerEnded


class _Stopped(Exception):
    """The transfer is being cancelled."""


class _Transfer:
    """The transfer as the caller sees it, made of the workers' messages."""

    def __init__(self, count: int, on_resume: Callable[[Resumed], None]) -> None:
        self._count = count
        self._on_resume = on_resume
        self._started: Started | None = None
        self._progress: dict[int, Progress] = {}
        self._results: dict[int, Result] = {}
        self._first_error: ClientError | None = None

    def events(self, workers: _Workers) -> Generator[Event, None, None]:
        """Yield the transfer's events until every worker has ended."""
        working = workers.count
        while working:
            match workers.messages.get():
                case _Reported(index, event):
                    if (shown := self._shown(index, event)) is not None:
                        yield shown
                case _Resuming(index, resumed):
                    self._on_resume(replace(resumed, shard=Shard(index, self._count)))
                case _ShardFailed(index, error):
                    self._fail(index, error)
                case _WorkerCrashed(defect):
                    raise defect
                case _WorkerEnded():
                    working -= 1
        yield Finished(self._result())

    def _shown(self, index: int, event: Event) -> Event | None:
        match event:
            case Started():
                if self._started is not None:
                    return None
                self._started = event
            case Progress():
                self._progress[index] = event
                shards = [self._progress[number] for number in sorted(self._progress)]
                return progress.of_shards(shards)
            case Finished(result):
                self._results[index] = replace(result, shard=Shard(index, self._count))
                if index in self._progress:
                    self._progress[index] = progress.at_end(self._progress[index], result)
                return None
        return event

    def _fail(self, index: int, error: ClientError) -> None:
        if isinstance(error, RequestRefused) and self._started is None and not self._results:
            raise error
        self._first_error = self._first_error or error
        code = error.code if error.code in ("forbidden", "internal") else "engine_failed"
        self._results[index] = merge.unanswered(
            self._engine,
            f"{error.code}: {str(error).splitlines()[0]}",
            code=code,
            retryable=error.retryable,
            shard=Shard(index, self._count),
            before=error.result,
        )

    def _result(self) -> Result:
        copied = any(result.totals.transferred for result in self._results.values())
        if self._first_error is not None and self._started is None and not copied:
            raise self._first_error
        return merge.merged(
            [self._results.get(index) or self._unstarted(index) for index in range(self._count)]
        )

    def _unstarted(self, index: int) -> Result:
        shard = Shard(index, self._count)
        text = "This shard was not started."
        result = merge.unanswered(self._engine, text, code="cancelled", shard=shard)
        return replace(result, state=State.CANCELLED)

    @property
    def _engine(self) -> str:
        return self._started.engine if self._started else ""


class _Workers:
    """The threads that copy shards, and the queue of their messages."""

    def __init__(
        self,
        request: Request,
        services: Sequence[Callable[[], Send]],
        division: Division,
        policy: RetryPolicy,
        stopped: Callable[[], bool],
    ) -> None:
        # Bounded, so that workers wait for the caller to read.
        self.messages: queue.Queue[_Message] = queue.Queue(_QUEUED_MESSAGES)
        self.count = min(division.parallel, division.count)
        self._request = request
        self._services = services
        self._policy = policy
        self._stop_requested = stopped
        self._shards = division.count
        # Each entry is a shard's index and how often it was requeued.
        self._waiting: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
        for index in range(division.count):
            self._waiting.put((index, 0))
        self._over = threading.Event()
        self._running: set[int] = set()
        self._pool = ServicePool(len(services))
        # Daemons: a service without streams may leave one waiting for minutes.
        self._threads = [
            threading.Thread(target=self._work, name=f"shards-{number}", daemon=True)
            for number in range(self.count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Cancel what runs, and wait until it is cleaned up where the clean-up is ours."""
        self._over.set()
        until = None if self._stop_requested() else time.monotonic() + _CANCEL_SECONDS
        for thread in self._threads:
            thread.join(None if until is None else max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        try:
            # One sender for each service and thread.
            sends = [service() for service in self._services]
            with suppress(queue.Empty, _Stopped):
                while not self._is_over():
                    index, requeued = self._waiting.get_nowait()
                    self._copy(index, requeued, sends)
        except BaseException as defect:  # noqa: BLE001 - raised where the events are read
            self._put(_WorkerCrashed(defect))
        finally:
            self._put(_WorkerEnded())

    def _copy(self, index: int, requeued: int, sends: Sequence[Send]) -> None:
        request = self._request_of(index)
        run = resume.events(
            lambda: PooledInvocation(self._pool, sends, request),
            self._policy,
            on_resume=lambda resumed: self._put(_Resuming(index, resumed)),
            sleep=self._sleep,
        )
        try:
            for event in run:
                self._running.add(index)
                self._put(_Reported(index, event))
                if self._over.is_set():
                    raise _Stopped
        except ClientError as error:
            if error.code == "busy" and error.result is None and requeued < _REQUEUED:
                # It waits its turn, and as long as other shards of this transfer run.
                self._waiting.put((index, requeued if self._running else requeued + 1))
                self._sleep(_BUSY_SECONDS)
            else:
                self._put(_ShardFailed(index, error))
        finally:
            self._running.discard(index)
            run.close()

    def _request_of(self, index: int) -> Request:
        selection = self._request.get("selection")
        if selection is not None and not isinstance(selection, Mapping):
            return self._request  # the service reports what is wrong with it
        shard = Shard(index, self._shards).to_json()
        return {**self._request, "selection": {**(selection or {}), "shard": shard}}

    def _is_over(self) -> bool:
        return self._over.is_set() or self._stop_requested()

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._over.wait(min(left, _POLL_SECONDS))
            if self._is_over():
                raise _Stopped

    def _put(self, message: _Message) -> None:
        while not self._over.is_set():
            with suppress(queue.Full):
                self.messages.put(message, timeout=_POLL_SECONDS)
                return
