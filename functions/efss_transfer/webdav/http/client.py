"""Send requests to the server that a transfer reads from or writes to.

The credential goes only to the server's own origin. A redirect is followed if the caller's policy
permits its target and the request can be sent again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import urljoin, urlsplit

from efss_transfer.webdav.http import messages
from efss_transfer.webdav.http.bodies import Body
from efss_transfer.webdav.http.connections import Connections, Origin
from efss_transfer.webdav.http.exchange import Answer, Call, Held, Sending, converse, no_answer

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS: Final = 5


class Upstream:
    """Client for one server and the targets of its redirects.

    The credential goes only to its own origin. `may_redirect` decides about other origins.
    `stall_seconds` is how long a server may be silent.
    """

    def __init__(
        self,
        origin: Origin,
        connections: Connections,
        *,
        may_redirect: Callable[[Origin], bool] = lambda _: False,
        stall_seconds: float = 60.0,
    ) -> None:
        self.origin = origin
        self.stall_seconds = stall_seconds
        self._connections = connections
        self._may_redirect = may_redirect

    def call(self, call: Call, authorization: str | None = None) -> Sending:
        """Send a request for the length of a block, whose value is its answer: see `send`."""
        return Sending(self.send(call, authorization))

    async def send(self, call: Call, authorization: str | None = None) -> Answer:
        """Send a request and return its answer, which must be settled. Raises NoAnswer.

        `authorization` goes only to the server's own origin. A redirect that is not followed is
        itself the answer.
        """
        origin, target = call.origin or self.origin, call.target
        followed: list[str] = []
        while True:
            answer = await self._exchange(call, origin, target, authorization)
            onward = self._onward(call, answer)
            if onward is None or len(followed) >= _MOST_REDIRECTS:
                answer.redirects = tuple(followed)
                return answer
            await answer.settle()
            followed.append(onward)
            origin, target = _split(onward)

    def _onward(self, call: Call, answer: Answer) -> str | None:
        if answer.status not in _REDIRECTS or not (location := answer.header("location")):
            return None
        if call.upload is not None and not call.upload.replayable:
            return None
        if answer.status == 303 and call.method not in ("GET", "HEAD"):
            return None
        return self._permitted(answer, location)

    def located(self, answer: Answer) -> tuple[Origin, str] | None:
        """Return the origin and target that an answer's Location names, by the rules of redirects.

        None if it names none that may be used. Raises NoAnswer if the site's rules deny it.
        """
        location = answer.header("location")
        url = self._permitted(answer, location) if location else None
        return None if url is None else _split(url)

    def _permitted(self, answer: Answer, location: str) -> str | None:
        try:
            url = urljoin(f"{answer.origin}{answer.target}", location)
            target = Origin.of(url)
        except ValueError:
            return None
        if target.scheme == "http" and answer.origin.scheme == "https":
            return None
        permitted = target == self.origin or self._may_redirect(target)
        return url if permitted else None

    async def _exchange(
        self, call: Call, origin: Origin, target: str, authorization: str | None
    ) -> Answer:
        """Send one request and read the head of its answer."""
        connections, silence = self._connections, max(self.stall_seconds, call.silence)
        heading = self._heading(call, origin, target, authorization)
        fresh = call.once
        while True:
            lease = await connections.acquire(origin, fresh=fresh, beside=call.beside)
            try:
                head = await converse(lease.stream, heading, call, silence)
                body = Body(lease.stream, head.length(call.method))
                return Answer(head, body, origin, target, silence, lease, connections)
            except (OSError, messages.BadMessage) as error:
                connections.release(lease, reusable=False)
                # A server may close an idle connection at any time. A request that can be
                # sent again is repeated on a new connection.
                again = call.upload is None or call.upload.replayable
                if lease.is_new or not again or isinstance(error, TimeoutError):
                    raise no_answer(origin, error) from error
                fresh = True
            except BaseException:
                connections.release(lease, reusable=False)
                raise

    def _heading(self, call: Call, origin: Origin, target: str, authorization: str | None) -> bytes:
        if self._connections.proxy is not None and origin.scheme == "http":
            target = f"{origin}{target}"
        headers = {"Host": origin.authority, "Accept-Encoding": "identity"}
        headers.update(call.headers)
        if origin == self.origin and authorization is not None:
            headers["Authorization"] = authorization
        if call.upload is not None:
            if call.upload.length is None:
                headers["Transfer-Encoding"] = "chunked"
            else:
                headers["Content-Length"] = str(call.upload.length)
            if not isinstance(call.upload, Held):
                headers["Expect"] = "100-continue"
        elif call.method in ("PUT", "POST"):
            headers["Content-Length"] = "0"
        return messages.request_head(call.method, target, headers)


def _split(url: str) -> tuple[Origin, str]:
    """Return the origin of a URL and the target of requests for it."""
    parts = urlsplit(url)
    return Origin.of(url), (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
