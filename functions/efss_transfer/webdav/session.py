"""Send requests with the credential, wait for a busy server, and record failures."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Final

from efss_transfer.webdav import words
from efss_transfer.webdav.credentials.credential import Credential, FixedCredential, NoToken
from efss_transfer.webdav.http.client import Upstream
from efss_transfer.webdav.http.connections import NoAnswer
from efss_transfer.webdav.http.exchange import Answer, Call, Held, Sending
from efss_transfer.webdav.words import Record, RequestFailure, Words

_SHOWN_ERROR: Final = 1 << 16
_PATIENT: Final = frozenset({423, 425, 429, 503})
_BUSY: Final = frozenset({429, 503})
_FIRST_PAUSE: Final = {423: 0.1, 425: 0.5, 429: 1.0, 503: 1.0}
_LONGEST_PAUSE: Final = 5.0
_UNNAMED_SECONDS: Final = 8.0
_REJECTED: Final = "The server rejected the credential: check the user and password or token."


class Refused(Exception):
    """Credential that the server rejected; it is not sent again."""


class Failed(Exception):
    """An error answer, with the status that the engine gets."""

    def __init__(self, status: int, said: Words) -> None:
        super().__init__(f"{status} {said.message}")
        self.status = status
        self.said = said


class ServerSession:
    """Session with one credential at one server.

    `home` is the path of the configured URL. `patience` is how many seconds one request may wait
    when the server asks for it. Nothing waits for a file in processing after `give_up_at`, a time
    of `time.monotonic()`, so that it has its error before the transfer's time is over.
    """

    def __init__(
        self,
        upstream: Upstream,
        home: str,
        *,
        credential: Credential | None = None,
        patience: float = 30.0,
        give_up_at: float = math.inf,
        record: Record | None = None,
    ) -> None:
        self.upstream = upstream
        self.home = home or "/"
        self.record = record or Record()
        self.refused = False
        self._rejection = Words(401)
        self._credential = credential or FixedCredential(None)
        self._patience = patience
        self._give_up_at = give_up_at
        self._accepted = False
        self._confirmed = 0.0
        self._confirming = asyncio.Lock()
        self._not_before = 0.0
        # Whether a request ran out of patience, and no later one was answered.
        self._is_out = False
        self._waiting: set[asyncio.Task[object]] = set()

    @property
    def patient_until(self) -> float:
        """Until when a wait for a file in processing may last that begins now."""
        return min(time.monotonic() + self._patience, self._give_up_at)

    @property
    def is_plain(self) -> bool:
        """Return whether requests are sent without TLS."""
        return self.upstream.origin.scheme == "http"

    def call(self, call: Call, path: str) -> Sending:
        """Send a request for a path for the length of a block, whose value is its answer.

        The answer may have any status. Waits and retries while the server reports that it is
        busy. Raises Refused, Failed if waiting does not help, and NoAnswer.
        """
        return Sending(self._answered(call, path))

    async def succeed(self, call: Call, path: str) -> Answer:
        """Send a request that must succeed, and return its answer, whose body is done with.

        Raises as `call` does, and Failed for any other answer.
        """
        async with self.call(call, path) as answer:
            if answer.status >= 300:
                raise await self.error(call, path, answer)
            return answer

    async def _answered(self, call: Call, path: str) -> Answer:
        begun = time.monotonic()
        pause, is_renewed = 0.0, False
        while True:
            authorization = await self._authorization(call, path, begun)
            answer = await self._sent(call, authorization)
            if answer.status < 400:
                self._is_out = False
                return answer
            try:
                own = answer.origin == self.upstream.origin
                if answer.status == 401 and own and authorization is not None:
                    if not is_renewed and await self._renewed(call, path, authorization):
                        is_renewed = True
                        await answer.settle()
                        continue
                    await self._doubt(answer, authorization)
                if answer.status not in _PATIENT:
                    self._is_out = False
                    return answer
                said = await _words(answer)
            except BaseException:
                await answer.settle()
                raise
            await answer.settle()
            if (status := words.permanent_status(said)) is not None:
                if status == 401 and authorization is not None:
                    self._reject(said)
                    raise Refused
                raise self.failed(call, path, said, status)
            pause = max(_FIRST_PAUSE[answer.status], min(2 * pause, _LONGEST_PAUSE))
            wait = pause if said.retry_after is None else said.retry_after
            now = time.monotonic()
            may_repeat = call.upload is None or call.upload.replayable
            until = begun + self._patience_with(said)
            if answer.status == 425:
                until = min(until, self._give_up_at)
            is_last = not may_repeat or now + wait > until
            if answer.status in _BUSY and (not is_last or said.retry_after is not None):
                # All requests slow down, not only the one that was refused.
                self._not_before = max(self._not_before, now + min(wait, self._patience))
            if is_last:
                self._is_out = self._is_out or answer.status != 425
                raise self.failed(call, path, said)
            with self.record.waits.during(said.status, path, wait, said.retry_after):
                await self._sleep(wait)

    def _patience_with(self, said: Words) -> float:
        """Return the total number of seconds to wait after such an answer.

        A server that sends Retry-After is given that time. One that does not is as likely down as
        busy: the engine must learn of it soon, and for the next request sooner.
        """
        if said.status == 425:
            return self._patience  # the file exists and will be ready
        if self._is_out:
            return 0.0
        named = said.retry_after is not None
        return self._patience if named else min(self._patience, _UNNAMED_SECONDS)

    async def error(self, call: Call, path: str, answer: Answer, status: int = 0) -> Failed:
        """Read an error answer, record it and return it as Failed."""
        said = await _words(answer)
        url = f"{answer.origin}{answer.target}"
        said = words.with_redirect(said, call.method, url, answer.header("location"))
        return self.failed(call, path, said, status)

    def failed(self, call: Call, path: str, said: Words, status: int = 0) -> Failed:
        """Record an error and return it. `status` replaces the server's for the engine."""
        self.record.fail(RequestFailure(call.method, path, said, status=status or None))
        return Failed(status or said.status or 502, said)

    async def _authorization(self, call: Call, path: str, begun: float) -> str | None:
        """Return the credential, for which a token may have to be fetched.

        Raises Refused if there will be none, and Failed if none can be had now.
        """
        await self._ready()
        while True:
            try:
                return await self._credential.header()
            except NoToken as error:
                patient_until = begun + self._patience_with(error.said)
                if error.is_final or time.monotonic() + _FIRST_PAUSE[503] > patient_until:
                    raise self._without(call, path, error) from None
            await self._sleep(_FIRST_PAUSE[503])

    async def _renewed(self, call: Call, path: str, rejected: str) -> bool:
        """Whether there is another token, with which the call can be sent again. Raises Refused and
        Failed as `_authorization` does, and Failed if it cannot.
        """
        try:
            if not await self._credential.renew(rejected):
                return False
        except NoToken as error:
            raise self._without(call, path, error) from None
        if call.upload is not None and not call.upload.replayable:
            # The engine has sent some of the file, and sends it again when it reads 503.
            raise self.failed(call, path, Words(503, message="The token ended."))
        return True

    def _without(self, call: Call, path: str, error: NoToken) -> Refused | Failed:
        """Return what to raise without a token."""
        if not error.is_final:
            return self.failed(call, path, error.said)
        self._reject(error.said)
        return Refused()

    async def _sent(self, call: Call, authorization: str | None) -> Answer:
        """Send the call with its credential, unless that is rejected meanwhile."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._waiting.add(task)
        try:
            answer = await self.upstream.send(call, authorization)
        except asyncio.CancelledError:
            if not self.refused:
                raise
            task.uncancel()
            raise Refused from None
        finally:
            self._waiting.discard(task)
        if answer.status != 401 and answer.status < 500:
            self._accepted = True
        return answer

    async def _ready(self) -> None:
        if self._confirming.locked():
            async with self._confirming:
                pass
        if self.refused:
            raise Refused
        if (wait := self._not_before - time.monotonic()) > 0:
            await self._sleep(wait)

    async def _sleep(self, seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        self._waiting.add(task)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            if not self.refused:
                raise
            task.uncancel()
        finally:
            self._waiting.discard(task)
        if self.refused:
            raise Refused

    async def _doubt(self, answer: Answer, authorization: str) -> None:
        """Check after a 401 whether the credential is still valid. Raises Refused if it is not.

        A credential that was never accepted is not tried again. One that was accepted is tried
        once more, by one request for all that wait; if that succeeds, the 401 concerned only that
        path.
        """
        if not self._accepted:
            await self._refuse(answer)
        asked = time.monotonic()
        async with self._confirming:
            if self.refused:
                raise Refused
            if self._confirmed > asked:
                return
            check = Call("PROPFIND", self.home, {"Depth": "0"}, Held(b""), beside=True)
            async with self.upstream.call(check, authorization) as checked:
                if checked.status == 401:
                    await self._refuse(checked)
            self._confirmed = time.monotonic()

    async def _refuse(self, answer: Answer) -> None:
        self._reject(Words(401))
        self._rejection = await _words(answer)
        raise Refused

    def _reject(self, said: Words) -> None:
        """Use the credential no more, and end all requests that wait."""
        self.refused = True
        self._rejection = said
        for task in self._waiting - {asyncio.current_task()}:
            task.cancel()

    def rejected(self, method: str, path: str) -> Words:
        """Record a request that needs the rejected credential, and return the answer to it."""
        said = self._rejection
        explains = said.message.startswith((words.DIGEST_ONLY, words.NO_SIGN_IN))
        reason = "" if explains else _REJECTED
        message = ": ".join(filter(None, (said.message, reason)))
        said = Words(401, said.exception, message, said.conditions)
        self.record.fail(RequestFailure(method, path, said))
        return said


async def _words(answer: Answer) -> Words:
    try:
        body = await answer.text(_SHOWN_ERROR)
    except NoAnswer:
        body = b""
    return words.read(answer.status, answer.head.headers, body)
