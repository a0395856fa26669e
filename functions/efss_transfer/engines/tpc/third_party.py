"""Sends third-party COPYs: pull (the destination reads) or push (the source writes)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from enum import Enum
from typing import Final

from efss_transfer.engines.redaction import Redactor
from efss_transfer.engines.third_party.checking import CopyFailed
from efss_transfer.engines.third_party.ends import End
from efss_transfer.engines.tpc import failures
from efss_transfer.engines.tpc.delegation import Delegation
from efss_transfer.engines.tpc.markers import Markers
from efss_transfer.model.result import Failure, Side
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Answer, Call
from efss_transfer.webdav.memory import key
from efss_transfer.webdav.paths import Segments
from efss_transfer.webdav.session import Failed, Refused

_PIECE: Final = 1 << 14
_BEGUN: Final = frozenset({200, 201, 202})
# How servers without third-party copy answer: they miss a `Destination`, or do not copy to others.
_REFUSED: Final = frozenset({"permission_denied", "authentication_failed"})
_UNKNOWN_THERE: Final = frozenset({400, 403, 405, 409, 415, 501, 502})


class Way(Enum):
    """Which storage copies: the destination pulls, or the source pushes."""

    PULL = "pull"
    PUSH = "push"


class _NotKnownThere(Exception):
    """A storage that answered as one that knows no third-party copies does."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


class ThirdPartyCopies:
    """The copies of one run.

    The first one shows which storage copies: the destination is asked, then the source. `way` is
    None until one of them has.
    """

    def __init__(
        self, source: End, destination: End, delegation: Delegation, redactor: Redactor
    ) -> None:
        self._source = source
        self._destination = destination
        self._delegation = delegation
        self._redactor = redactor
        self.way: Way | None = None
        self._trial: asyncio.Event | None = None
        self._impossible: Failure | None = None

    @property
    def is_impossible(self) -> bool:
        """Whether neither storage knows third-party copies."""
        return self._impossible is not None

    async def copy(self, path: Segments, to: Segments, moved: Callable[[int], None]) -> None:
        """Let the storages copy a file, under a name that is free. Raises CopyFailed and what the
        ends raise. `moved` is called with the number of bytes that have moved so far.
        """
        while self.way is None and self._trial is not None:
            await self._trial.wait()
        if self._impossible is not None:
            raise CopyFailed(self._impossible)
        if self.way is not None:
            await self._copy(self.way, path, to, moved)
            return
        self._trial = trial = asyncio.Event()
        try:
            await self._try(path, to, moved)
        finally:
            self._trial = None
            trial.set()

    async def copy_by(self, way: Way, path: Segments, to: Segments) -> None:
        """Let the storages copy a file in one way. Raises CopyFailed and what the ends raise."""
        try:
            await self._copy(way, path, to, lambda _: None)
        except _NotKnownThere as unknown:
            raise CopyFailed(unknown.failure) from unknown

    async def _try(self, path: Segments, to: Segments, moved: Callable[[int], None]) -> None:
        """Copy the first file, by the way that one of the storages knows. All others wait until
        that has begun.
        """
        refusals: list[Failure] = []
        for way in Way:
            try:
                await self._copy(way, path, to, moved)
            except _NotKnownThere as unknown:
                refusals.append(unknown.failure)
            else:
                return
        self._impossible = _impossible(refusals)
        raise CopyFailed(self._impossible)

    async def _copy(
        self, way: Way, path: Segments, to: Segments, moved: Callable[[int], None]
    ) -> None:
        if way is Way.PULL:
            active, passive = self._destination, self._source
            at, header, other = to, "Source", passive.url(path)
        else:
            active, passive = self._source, self._destination
            at, header, other = path, "Destination", passive.url(to)
        signed = await self._delegation.headers(passive)
        try:
            await self._ask(way, active, at, {header: other, **signed}, moved)
        except CopyFailed as failed:
            is_refused = failed.failure.code in _REFUSED and failed.failure.side is passive.side
            if not is_refused or not self._delegation.give_up(passive.side, signed):
                raise
            signed = await self._delegation.headers(passive)
            await self._ask(way, active, at, {header: other, **signed}, moved)
        self._delegation.prove(passive.side, signed)

    async def _ask(
        self,
        way: Way,
        active: End,
        at: Segments,
        other: dict[str, str],
        moved: Callable[[int], None],
    ) -> None:
        """Send a COPY to the active end, and follow it."""
        # Checksums are compared afterwards: dCache fails where the other storage tells none.
        headers = {"Credential": "none", "Overwrite": "T", "RequireChecksumVerification": "false"}
        # XRootD 5.5.3 hangs or breaks down where a connection is used again after a copy.
        headers["Connection"] = "close"
        call = Call("COPY", active.listings.target(at), headers | other)
        try:
            await self._send(way, active, call, at, moved)
        except (Failed, Refused, NoAnswer) as error:
            raise CopyFailed(active.failure(error)) from error

    async def _send(
        self, way: Way, active: End, call: Call, at: Segments, moved: Callable[[int], None]
    ) -> None:
        async with active.session.call(call, key(at)) as answer:
            if answer.status not in _BEGUN:
                failure = active.failure(await active.session.error(call, key(at), answer))
                if answer.status in _UNKNOWN_THERE and self.way is None:
                    raise _NotKnownThere(failure)
                raise CopyFailed(failure)
            await self._follow(way, answer, active, moved)

    async def _follow(
        self, way: Way, answer: Answer, active: End, moved: Callable[[int], None]
    ) -> None:
        """Read the markers until the outcome. The way is known once there is one."""
        markers, progressed = Markers(), time.monotonic()
        silence = active.session.upstream.stall_seconds
        buffer = answer.body.buffer(_PIECE)
        while count := await answer.read(buffer):
            before = markers.moved
            markers.feed(bytes(buffer[:count]))
            if markers.moved > before:
                progressed = time.monotonic()
                self._is_known(way)  # and the other storage has accepted the credential
                moved(markers.moved)
            elif time.monotonic() - progressed > silence:
                # A storage that waits may send markers for ever.
                raise CopyFailed(failures.stalled(active.side, silence))
        markers.close()
        if markers.has_begun:
            self._is_known(way)
        if markers.verdict is None:
            if self.way is None and not answer.body.count:
                raise _NotKnownThere(failures.without_outcome(active.side, is_markers=False))
            raise CopyFailed(
                failures.without_outcome(active.side, is_markers=bool(answer.body.count))
            )
        if not markers.verdict.has_succeeded:
            raise CopyFailed(failures.of_reason(markers.verdict.text, active.side, self._redactor))

    def _is_known(self, way: Way) -> None:
        self.way = way
        if self._trial is not None:
            self._trial.set()


def _impossible(refusals: list[Failure]) -> Failure:
    said = "; ".join(dict.fromkeys(failure.message for failure in refusals))
    text = (
        "Neither storage copies from or to the other by itself (HTTP third-party copy); use the "
        f"engine `rclone`. They answered: {said}"
    )
    sides = {failure.side for failure in refusals}
    side = sides.pop() if len(sides) == 1 else Side.DESTINATION
    return Failure("unsupported", text, retryable=False, side=side)
