"""The REST API of an FTS3 server, as far as this service needs it: jobs, with bearer tokens."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from efss_transfer.engines.fts.jobs import FtsJob, job_of
from efss_transfer.model.errors import CODES, ConfigurationError
from efss_transfer.model.request import FtsServer
from efss_transfer.model.result import Failure
from efss_transfer.webdav.http.client import Upstream
from efss_transfer.webdav.http.connections import Connections, NoAnswer, Origin
from efss_transfer.webdav.http.exchange import Call, Held

if TYPE_CHECKING:
    from efss_transfer.engines.redaction import Redactor
    from efss_transfer.engines.side_route import SideRoute

_FIELDS: Final = "file_state,reason,dest_surl,transferred"
_LONGEST: Final = 1 << 24
_MOST_CONNECTIONS: Final = 4
_JSON: Final = {"Accept": "application/json", "Content-Type": "application/json"}
_BUSY: Final = frozenset({429, 500, 502, 503, 504})


class FtsFailed(Exception):
    """The FTS server did not do what was asked. `status` is None if it gave no answer."""

    def __init__(self, status: int | None, failure: Failure) -> None:
        super().__init__(failure.code)
        self.status = status
        self.failure = failure


class FtsApi:
    """One server, with one caller's token. Each method raises FtsFailed."""

    def __init__(
        self, server: FtsServer, route: SideRoute, redactor: Redactor, stall_seconds: float
    ) -> None:
        self._redactor = redactor
        self._base = urlsplit(server.url).path.rstrip("/")
        self._authorization = f"Bearer {server.token}"
        self.connections = Connections(
            route.dial, tls=_trusting(server.ca_bundle), most=_MOST_CONNECTIONS
        )
        self._upstream = Upstream(
            Origin.of(server.url), self.connections, stall_seconds=stall_seconds
        )

    async def caller(self) -> Mapping[str, Any]:
        """Who the server takes the caller for."""
        found = await self._ask("GET", "/whoami")
        return found if isinstance(found, dict) else {}

    async def jobs(self, ids: Sequence[str]) -> list[FtsJob | None]:
        """The jobs with these ids, which are more than one; None for each that does not exist.

        A job of another caller's counts as one that has ended.
        """
        found = await self._ask("GET", f"/jobs/{','.join(ids)}")
        by_id = {
            str(it.get("job_id")): it
            for it in (found if isinstance(found, list) else [])
            if isinstance(it, dict) and not str(it.get("http_status", "")).startswith("404")
        }
        return [job_of(by_id[id_], id_) if id_ in by_id else None for id_ in ids]

    async def job(self, id_: str) -> FtsJob:
        """A job with its files."""
        found = await self._ask("GET", f"/jobs/{id_}?files={_FIELDS}")
        return job_of(found if isinstance(found, dict) else {}, id_)

    async def submit(self, job: Mapping[str, Any]) -> str:
        """Submit a job, and return its id."""
        found = await self._ask("POST", "/jobs", json.dumps(job).encode())
        return str(found["job_id"]) if isinstance(found, dict) and "job_id" in found else ""

    async def cancel(self, id_: str) -> bool:
        """Cancel a job. Returns False if it had ended, which the server says in a 200."""
        found = await self._ask("DELETE", f"/jobs/{id_}")
        status = found.get("http_status", "") if isinstance(found, dict) else ""
        return not str(status).startswith("304")

    async def _ask(self, method: str, target: str, body: bytes | None = None) -> Any:
        call = Call(method, self._base + target, _JSON, None if body is None else Held(body))
        try:
            async with self._upstream.call(call, self._authorization) as answer:
                text = await answer.text(_LONGEST)
                if answer.status >= 300:
                    raise self._refused(answer.status, text)
        except NoAnswer as error:
            code = "forbidden" if error.cause == "denied" else "storage_unreachable"
            shown = self._redactor.redact(f"The FTS server gave no answer: {error}", "")
            raise FtsFailed(
                None, Failure(code, shown, retryable=CODES[code].retryable, side=None)
            ) from error
        try:
            return json.loads(text)
        except ValueError:
            failure = Failure(
                "storage_error",
                "The FTS server's answer is not JSON; check `engines.fts.url` of the site file.",
                retryable=False,
                side=None,
            )
            raise FtsFailed(answer.status, failure) from None

    def _refused(self, status: int, text: bytes) -> FtsFailed:
        try:
            said = str(json.loads(text)["message"])
        except (ValueError, KeyError, TypeError):
            said = ""
        code, retryable = "storage_error", False
        if status in (401, 419) or (status == 400 and "oken" in said):
            code = "authentication_failed"
        elif status == 403:
            code = "permission_denied"
        elif status in _BUSY:
            code, retryable = "storage_busy", True
        shown = self._redactor.redact(said, CODES[code].title)
        return FtsFailed(
            status, Failure(code, f"The FTS server answered {status}: {shown}", retryable, None)
        )


def _trusting(ca_bundle: str | None) -> ssl.SSLContext | None:
    if ca_bundle is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca_bundle)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"The CA bundle of the FTS server cannot be read ({type(error).__name__})."
        ) from None
