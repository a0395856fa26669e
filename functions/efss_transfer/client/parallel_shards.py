"""Shards of one request, copied side by side: by one service, or by a pool of them.

Each shard goes on for as many invocations as it takes (`completion`), wherever there is a place
in the pool; the events of all are told as one transfer's, the merged result last.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from efss_transfer.client import merge, resume
from efss_transfer.client.errors import ClientError, RequestRefused
from efss_transfer.client.resume import Resumed, RetryPolicy, Running
from efss_transfer.model.events import Event, Finished, Progress, Started
from efss_transfer.model.result import Result, Shard, State

Request = Mapping[str, Any]
Send = Callable[[Request], Running]
"""Sends a request once, as `Client.stream` does it; one thread's."""

_AVOIDED_SECONDS: Final = 30.0
_PUT_BACK: Final = 20
_BUSY_SECONDS: Final = 2.0
_LETTING_GO_SECONDS: Final = 5.0
_WAITING: Final = 1000


@dataclass(frozen=True)
class Division:
    """Into how many shards, and how many of them at a time."""

    count: int
    parallel: int


def events(
    request: Request,
    services: Sequence[Callable[[], Send]],
    division: Division,
    bounds: RetryPolicy,
    *,
    told: Callable[[Resumed], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Generator[Event, None, None]:
    """The events of a transfer as shards.

    `services` makes, for each service of the pool, what sends a request to it. Where a shard
    fails for good the others go on. Closing the generator cancels what runs, and so does
    `stopped`, once it says so, for services that ask it themselves. Raises ClientError if all
    is refused before anything has begun.
    """
    run = _ParallelRun(request, services, division, bounds, stopped)
    try:
        run.start()
        yield from run.events(told)
    finally:
        run.end()


class _Stopped(Exception):
    """The transfer is to end."""


class _ServicePool:
    """Which service is to take the next invocation: the one that has the fewest; but not one
    that could not be reached just now, as long as there are others.
    """

    def __init__(self, count: int) -> None:
        self._running = [0] * count
        self._avoided = [0.0] * count
        self._lock = threading.Lock()

    @contextmanager
    def place(self) -> Iterator[int]:
        """One of them, for the length of the block."""
        with self._lock:
            now = time.monotonic()
            number = min(
                range(len(self._running)),
                key=lambda it: (self._avoided[it] > now, self._running[it], self._avoided[it]),
            )
            self._running[number] += 1
        try:
            yield number
        except ClientError as error:
            if error.retryable:
                with self._lock:
                    self._avoided[number] = time.monotonic() + _AVOIDED_SECONDS
            raise
        finally:
            with self._lock:
                self._running[number] -= 1


class _ShardInvocation:
    """One invocation, at whatever service of the pool has a place for it."""

    def __init__(self, pool: _ServicePool, sends: Sequence[Send], request: Request) -> None:
        self._events = self._run(pool, sends, request)

    def _run(
        self, pool: _ServicePool, sends: Sequence[Send], request: Request
    ) -> Generator[Event, None, None]:
        with pool.place() as number, closing(sends[number](request)) as running:
            yield from running

    def __iter__(self) -> Iterator[Event]:
        return self._events

    def close(self) -> None:
        """Cancel it if it has not ended."""
        self._events.close()


class _ParallelRun:
    def __init__(
        self,
        request: Request,
        services: Sequence[Callable[[], Send]],
        division: Division,
        bounds: RetryPolicy,
        stopped: Callable[[], bool],
    ) -> None:
        self._request = request
        self._services = services
        self._bounds = bounds
        self._asked_to_stop = stopped
        self._count = division.count
        self._todo: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
        for index in range(division.count):
            self._todo.put((index, 0))
        # Bounded, so that workers wait for whoever reads the events.
        self._told: queue.Queue[tuple[int, Event | Resumed | BaseException | None]] = queue.Queue(
            _WAITING
        )
        self._over = threading.Event()
        # Of which shards something runs at this moment.
        self._running: set[int] = set()
        self._pool = _ServicePool(len(services))
        # Daemons: a service without streams may leave one waiting for minutes.
        self._workers = [
            threading.Thread(target=self._work, name=f"shards-{number}", daemon=True)
            for number in range(min(division.parallel, division.count))
        ]

    def start(self) -> None:
        for worker in self._workers:
            worker.start()

    def end(self) -> None:
        """Cancel what runs; wait until it is cleaned up, where that is ours to do."""
        self._over.set()
        until = None if self._asked_to_stop() else time.monotonic() + _LETTING_GO_SECONDS
        for worker in self._workers:
            worker.join(None if until is None else max(0.0, until - time.monotonic()))

    def events(self, told: Callable[[Resumed], None]) -> Generator[Event, None, None]:
        """What the workers tell, as of one transfer."""
        started: Started | None = None
        progress: dict[int, Progress] = {}
        results: dict[int, Result] = {}
        refused: ClientError | None = None
        working = len(self._workers)
        while working:
            index, event = self._told.get()
            shard = Shard(index, self._count)
            if event is None:
                working -= 1
            elif isinstance(event, Started):
                if started is None:
                    started = event
                    yield event
            elif isinstance(event, Progress):
                progress[index] = event
                yield merge.abreast([progress[number] for number in sorted(progress)])
            elif isinstance(event, Finished):
                results[index] = replace(event.result, shard=shard)
                if index in progress:
                    progress[index] = _still(progress[index], event.result)
            elif isinstance(event, Resumed):
                told(replace(event, shard=shard))
            elif isinstance(event, ClientError):
                if isinstance(event, RequestRefused) and started is None and not results:
                    raise event
                refused = refused or event
                results[index] = _failed(event, shard, started)
            elif isinstance(event, BaseException):
                raise event
            else:
                yield event
        if (
            refused is not None
            and started is None
            and not any(result.totals.transferred for result in results.values())
        ):
            raise refused
        for index in range(self._count):
            if index not in results:
                results[index] = replace(
                    merge.unanswered(
                        started.engine if started else "",
                        "It was not begun.",
                        code="cancelled",
                        shard=Shard(index, self._count),
                    ),
                    state=State.CANCELLED,
                )
        yield Finished(merge.merged([results[index] for index in range(self._count)]))

    def _work(self) -> None:
        index = -1
        try:
            # One client for each service and thread.
            sends = [service() for service in self._services]
            with suppress(queue.Empty, _Stopped):
                while not self._ending():
                    index, often = self._todo.get_nowait()
                    self._copy(index, often, sends)
        except BaseException as defect:  # noqa: BLE001 - it is raised where the events are read
            self._tell(index, defect)
        finally:
            self._tell(index, None)

    def _copy(self, index: int, often: int, sends: Sequence[Send]) -> None:
        shard = Shard(index, self._count).to_json()
        known = self._request.get("selection")
        # What is wrong with a selection, the service says.
        selection = (
            known
            if known is not None and not isinstance(known, Mapping)
            else {
                **(known or {}),
                "shard": shard,
            }
        )
        request = {**self._request, "selection": selection}
        run = resume.events(
            lambda: _ShardInvocation(self._pool, sends, request),
            self._bounds,
            told=lambda again: self._tell(index, again),
            sleep=self._sleep,
        )
        try:
            for event in run:
                self._running.add(index)
                self._tell(index, event)
                if self._over.is_set():
                    raise _Stopped
        except ClientError as error:
            if error.code == "busy" and error.result is None and often < _PUT_BACK:
                # Nothing of it has begun: it waits for its turn, for as long as others of ours run.
                self._todo.put((index, often if self._running else often + 1))
                self._sleep(_BUSY_SECONDS)
            else:
                self._tell(index, error)
        finally:
            self._running.discard(index)
            run.close()

    def _ending(self) -> bool:
        return self._over.is_set() or self._asked_to_stop()

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._over.wait(min(left, 0.2))
            if self._ending():
                raise _Stopped

    def _tell(self, index: int, event: Event | Resumed | BaseException | None) -> None:
        while not self._over.is_set():
            with suppress(queue.Full):
                self._told.put((index, event), timeout=0.2)
                return


def _still(progress: Progress, result: Result) -> Progress:
    """What the progress of a shard is that has ended."""
    return replace(
        progress,
        totals=result.totals,
        current_bytes=result.totals.transferred_bytes,
        speed=0.0,
        eta_seconds=None,
        in_flight=(),
    )


def _failed(error: ClientError, shard: Shard, started: Started | None) -> Result:
    code = error.code if error.code in ("forbidden", "internal") else "engine_failed"
    return merge.unanswered(
        started.engine if started else "",
        f"{error.code}: {str(error).splitlines()[0]}",
        code=code,
        retryable=error.retryable,
        shard=shard,
        before=error.result,
    )
