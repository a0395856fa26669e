"""One HTTP/1.1 connection over a unix socket, for one request at a time."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from efss_transfer.webdav.http.messages import BadMessage, ResponseHead, parse_response

_PIECE: Final = 1 << 18
_LONGEST_HEAD: Final = 1 << 16
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\r\n")


class UnixConnection:
    """A connection. Its methods raise TimeoutError after the seconds that `allow` has set, and
    ConnectionError if the server is gone. Creating it connects.
    """

    def __init__(self, path: str, timeout: float | None) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._read = bytearray()
        self.is_reusable = True
        """Whether another request may follow: the last response was read to its end."""
        try:
            # The kernel limits the wait, and not Python's timeout, which makes the socket
            # non-blocking: connect(2) to a unix socket with a full backlog then fails at once
            # with EAGAIN, as if no server were listening.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(timeout))
            self._socket.connect(path)
            self._socket.settimeout(timeout)
        except BlockingIOError:
            self.close()
            raise TimeoutError from None
        except BaseException:
            self.close()
            raise

    def allow(self, seconds: float | None) -> None:
        """Set how long each send and each read may wait; None for no limit."""
        self._socket.settimeout(seconds)

    @property
    def is_idle(self) -> bool:
        """Whether the connection is open and has no unread data. Call `allow` before the next use:
        until then nothing waits.
        """
        self._socket.setblocking(False)  # with a timeout, Python waits before it asks
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def ask(self, request: bytes) -> ResponseHead:
        """Send a request, and read the head of its response. Raises BadMessage."""
        self.is_reusable = False
        with suppress(BrokenPipeError):  # the server may have answered first
            self._socket.sendall(request)
        while True:
            head = parse_response(self._taken(self._end_of(b"\r\n\r\n")))
            if head.status >= 200:
                return head

    def body(self, head: ResponseHead) -> Iterator[bytes]:
        """Read the body of a response in pieces. Raises BadMessage."""
        length = head.length("POST")
        if length == "chunked":
            while count := self._chunk():
                yield from self._pieces(count)
                self._line()
            while self._line() != b"\r\n":
                pass
        elif length == "close":
            while piece := self._piece(_PIECE):
                yield piece
        else:
            yield from self._pieces(length)
        self.is_reusable = head.keep_alive and length != "close"

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _chunk(self) -> int:
        found = _CHUNK.fullmatch(self._line())
        if found is None:
            raise BadMessage("a chunk has no valid size")
        return int(found[1], 16)

    def _pieces(self, count: int) -> Iterator[bytes]:
        while count:
            piece = self._piece(min(count, _PIECE))
            if not piece:
                raise ConnectionResetError
            count -= len(piece)
            yield piece

    def _piece(self, most: int) -> bytes:
        if self._read:
            return self._taken(min(most, len(self._read)))
        return self._socket.recv(most)

    def _line(self) -> bytes:
        return self._taken(self._end_of(b"\r\n"))

    def _end_of(self, mark: bytes) -> int:
        """Read up to a mark, and return where it ends."""
        while (at := self._read.find(mark)) < 0:
            if len(self._read) > _LONGEST_HEAD:
                raise BadMessage("the head exceeds 64 KiB")
            more = self._socket.recv(_LONGEST_HEAD)
            if not more:
                raise ConnectionResetError
            self._read += more
        return at + len(mark)

    def _taken(self, count: int) -> bytes:
        taken = bytes(self._read[:count])
        del self._read[:count]
        return taken


def _timeval(seconds: float | None) -> bytes:
    """A time as setsockopt(2) takes it, at least a microsecond, because 0 means no limit."""
    microseconds = 0 if seconds is None else max(1, round(seconds * 1_000_000))
    return struct.pack("ll", *divmod(microseconds, 1_000_000))
