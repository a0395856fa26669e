"""Planned faults, and the record of each request."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from typing import Final

_LONGEST_HOLD: Final = 15.0


@dataclass
class Request:
    """Record of a request and its outcome.

    `path` is decoded and without a slash at its end; `received` and `sent` count the bytes of
    bodies. `status` is 0 until there is an answer, and stays so if the connection broke.
    `answered` is the moment before the last bytes of the answer left, and `ended` the one when the
    server had done with it, which a client may know earlier; both are 0 until then. `posted` is the
    body of a POST to a server that keeps it.
    """

    method: str
    path: str
    target: str
    headers: dict[str, str]
    at: float
    received: int = 0
    sent: int = 0
    status: int = 0
    answered: float = 0
    ended: float = 0
    user: str = ""
    failed: bool = False
    posted: bytes = b""

    @property
    def depth(self) -> str:
        """The header Depth, or nothing."""
        return self.headers.get("depth", "")

    @property
    def until(self) -> float:
        """The moment until which a client must have taken it for unanswered."""
        return self.answered or self.ended or math.inf


def most_at_once(requests: Sequence[Request]) -> int:
    """The largest number of requests that were without their answers at one time."""
    moments = [one.at for one in requests]
    return max(sum(one.at <= moment < one.until for one in requests) for moment in moments)


class Kind(Enum):
    """Kind of a fault."""

    ANSWER = "answer"
    DELAY = "delay"
    HOLD = "hold"
    RESET = "reset"
    STALL = "stall"
    TRUNCATE = "truncate"


@dataclass(frozen=True)
class Fault:
    """Made by `status`, `delay`, `reset`, `stall`, `cut_answer`, `truncate`."""

    kind: Kind
    status: int = 0
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    after: int = 0
    seconds: float = 0
    carried_out: bool = False
    event: threading.Event | None = None
    of_answer: bool = False


def status(code: int, body: bytes = b"", *, carried_out: bool = False, **headers: str) -> Fault:
    """A status, after the whole request was read; headers with _ for -.

    `carried_out`: the request is served all the same, as behind a proxy that timed out.
    """
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Fault(Kind.ANSWER, code, body, named, carried_out=carried_out)


def delay(seconds: float) -> Fault:
    """Served, that much later."""
    return Fault(Kind.DELAY, seconds=seconds)


class Gathering:
    """Holds the first requests of a method until so many have come, as an `on_request`.

    So they are there at one time, however slow the machine is; later ones are served at once.
    """

    def __init__(self, method: str, count: int) -> None:
        self._method = method
        self._left = count
        self._are_there = threading.Event()

    def __call__(self, request: Request) -> Fault | None:
        """Hold a request; the caller holds the server's guard."""
        if request.method != self._method or self._left <= 0:
            return None
        self._left -= 1
        if not self._left:
            self._are_there.set()
        return Fault(Kind.HOLD, seconds=_LONGEST_HOLD, event=self._are_there)


def reset(after: int = 0) -> Fault:
    """The connection is reset: once that many bytes of the request's body were read, or that
    many of the answer's were sent where the request has none.
    """
    return Fault(Kind.RESET, after=after)


def stall(after: int = 0) -> Fault:
    """Silence until the server ends, after as many bytes as with `reset`."""
    return Fault(Kind.STALL, after=after)


def cut_answer(after: int) -> Fault:
    """An orderly end of the connection, after as many bytes of the answer."""
    return Fault(Kind.TRUNCATE, after=after, of_answer=True)


def truncate(after: int) -> Fault:
    """An orderly end of the connection, after as many bytes as with `reset`."""
    return Fault(Kind.TRUNCATE, after=after)


@dataclass
class _Plan:
    method: str
    path: str
    fault: Fault
    times: int | None
    skip: int
    when: Callable[[Request], bool]


@dataclass
class Faults:
    """The faults that are planned, in their order."""

    _plans: list[_Plan] = field(default_factory=list)

    def plan(
        self,
        method: str,
        path: str,
        fault: Fault,
        *,
        times: int | None = None,
        skip: int = 0,
        when: Callable[[Request], bool] = lambda _: True,
    ) -> None:
        """Let requests of a method (`*`: any) for a path (a pattern of fnmatch), of which
        `when` is true, meet a fault: all of them, or `times`, once `skip` were served.
        """
        self._plans.append(_Plan(method, path, fault, times, skip, when))

    def clear(self, path: str | None = None) -> None:
        """Plan nothing any more: for a path as it was planned, or at all."""
        self._plans = [plan for plan in self._plans if path not in (None, plan.path)]

    def of(self, request: Request) -> Fault | None:
        """The fault that this request meets, if any; the caller holds the server's guard."""
        for plan in self._plans:
            fits = plan.method in ("*", request.method) and fnmatchcase(request.path, plan.path)
            if not fits or plan.times == 0 or not plan.when(request):
                continue
            if plan.skip:
                plan.skip -= 1
                continue
            if plan.times is not None:
                plan.times -= 1
            request.failed = True
            return plan.fault
        return None
