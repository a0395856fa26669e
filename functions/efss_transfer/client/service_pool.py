"""A pool of services that run invocations of shards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

from efss_transfer.client.errors import ClientError
from efss_transfer.client.resume import Running
from efss_transfer.model.events import Event

Request = Mapping[str, Any]
Send = Callable[[Request], Running]
"""Sends a request once, as `Client.stream` does. Each belongs to one thread."""

_AVOIDED_SECONDS: Final = 30.0


class ServicePool:
    """Chooses the service for the next invocation: the one that runs the fewest.

    A service that could not be reached is avoided for half a minute, while others remain.
    """

    def __init__(self, count: int) -> None:
        self._running = [0] * count
        self._avoided_until = [0.0] * count
        self._lock = threading.Lock()

    @contextmanager
    def reserved(self) -> Iterator[int]:
        """Reserve a service, by its number, for the length of the block."""
        with self._lock:
            now = time.monotonic()
            number = min(
                range(len(self._running)),
                key=lambda it: (
                    self._avoided_until[it] > now,
                    self._running[it],
                    self._avoided_until[it],
                ),
            )
            self._running[number] += 1
        try:
            yield number
        except ClientError as error:
            if error.retryable:
                with self._lock:
                    self._avoided_until[number] = time.monotonic() + _AVOIDED_SECONDS
            raise
        finally:
            with self._lock:
                self._running[number] -= 1


class PooledInvocation:
    """One invocation, at a service that the pool chooses when it starts."""

    def __init__(self, pool: ServicePool, sends: Sequence[Send], request: Request) -> None:
        self._events = self._run(pool, sends, request)

    def _run(
        self, pool: ServicePool, sends: Sequence[Send], request: Request
    ) -> Generator[Event, None, None]:
        with pool.reserved() as number, closing(sends[number](request)) as running:
            yield from running

    def __iter__(self) -> Iterator[Event]:
        return self._events

    def close(self) -> None:
        """Cancel the invocation if it has not ended."""
        self._events.close()
