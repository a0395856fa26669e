"""An FTS3 server, as its REST API looks from outside, which lets storages copy by HTTP COPY.

    with fts_server.serving() as fts:
        fts.admit("token", vo="alice-vo")
        fts.hold.set()                       # a slow queue: nothing begins
        fts.foretell("/to/a", "DESTINATION [28] No space left on device")

It copies by a COPY to each destination, with the tokens that a job brings, and tells the reasons of
failures in FTS's form. `requests` are what it was asked; `jobs` what it holds.
"""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from uuid import UUID, uuid5

from support import storages

BASE: Final = UUID("01874efb-4735-4595-bc9c-591aef8240c9")
ENDED: Final = frozenset({"FINISHED", "FAILED", "CANCELED", "FINISHEDDIRTY"})
_STATUSES: Final = {
    200: "200 Ok",
    304: "304 Not Modified",
    403: "403 Forbidden",
    404: "404 Not Found",
}


@dataclass
class File:
    """A file of a job."""

    source: str
    destination: str
    tokens: tuple[str, str]
    size: int | None
    checksum: str | None
    state: str = "SUBMITTED"
    reason: str = ""
    moved: int = 0

    def shown(self, fields: list[str]) -> dict[str, Any]:
        """As the server shows it."""
        whole = {
            "file_state": self.state,
            "reason": self.reason,
            "source_surl": self.source,
            "dest_surl": self.destination,
            "filesize": self.size,
            "checksum": self.checksum,
            "transferred": self.moved,
        }
        return {name: whole[name] for name in fields if name in whole}


@dataclass
class FtsJob:
    """A job."""

    id: str
    vo: str
    params: dict[str, Any]
    files: list[File]
    is_cancelled: bool = False

    @property
    def state(self) -> str:
        """Its state, by those of its files."""
        states = {file.state for file in self.files}
        if self.is_cancelled:
            return "CANCELED"
        if states <= ENDED:
            if states == {"FINISHED"}:
                return "FINISHED"
            return "FINISHEDDIRTY" if "FINISHED" in states else "FAILED"
        return "ACTIVE" if states != {"SUBMITTED"} else "SUBMITTED"


@dataclass
class Asked:
    """A request."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class FtsServer:
    """The server. `hold`: while it is set, no file begins. `forbids_duplicates`: whether two jobs
    may not write to one destination. `lies_about`: destinations, by the end of their paths, that
    are FINISHED without a copy. `refuse` may answer a request by a status and a message.
    """

    url: str = ""
    forbids_duplicates: bool = True
    tls: ssl.SSLContext | None = None
    hold: threading.Event = field(default_factory=threading.Event)
    lies_about: set[str] = field(default_factory=set)
    jobs: dict[str, FtsJob] = field(default_factory=dict)
    requests: list[Asked] = field(default_factory=list)
    refuse: Callable[[Asked], tuple[int, str] | None] = lambda _: None

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.ended = threading.Event()
        self._callers: dict[str, str] = {}
        self._foretold: dict[str, str] = {}
        self._workers = ThreadPoolExecutor(8)

    def reset(self) -> None:
        """Be as at the start, once what it copies has ended."""
        self.hold.clear()
        for job in tuple(self.jobs.values()):
            job.is_cancelled = True
        self._workers.shutdown(wait=True, cancel_futures=True)
        self._workers = ThreadPoolExecutor(8)
        self.jobs.clear()
        self.requests.clear()
        self.lies_about.clear()
        self._callers.clear()
        self._foretold.clear()
        self.refuse = lambda _: None

    def admit(self, token: str, vo: str = "example-vo") -> None:
        """Admit a caller, by a token."""
        self._callers[token] = vo

    def foretell(self, path: str, reason: str) -> None:
        """Let files fail whose destination's path ends so."""
        self._foretold[path] = reason

    def foretell_nothing(self) -> None:
        """Let no file fail for a reason that was foretold."""
        self._foretold.clear()

    def seen(self, method: str, path: str = "") -> list[Asked]:
        """What it was asked, of a method and of paths that begin so."""
        with self.lock:
            return [it for it in self.requests if it.method == method and it.path.startswith(path)]

    def wait_for(self, condition: Callable[[], object], seconds: float = 20) -> None:
        """Wait for something that happens at this server."""
        for _ in range(int(seconds / 0.05)):
            if condition():
                return
            self.ended.wait(0.05)
        raise AssertionError(self.jobs)

    def answer(self, asked: Asked) -> tuple[int, Any]:
        """Answer a request."""
        with self.lock:
            self.requests.append(asked)
        if (refused := self.refuse(asked)) is not None:
            return refused[0], {"status": str(refused[0]), "message": refused[1]}
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        if asked.path == "/":
            return 200, {"api": {"major": 3}, "delegation": {}}
        if (vo := self._callers.get(token)) is None:
            return 401, {"status": "401 Unauthorized", "message": "Invalid credentials"}
        if asked.path == "/whoami":
            return 200, {"vos": [vo], "vos_id": [str(uuid5(BASE, vo))], "base_id": str(BASE)}
        with self.lock:
            if asked.method == "POST":
                return self._submit(asked.body, vo)
            ids, _, query = asked.path.removeprefix("/jobs/").partition("?")
            fields = query.removeprefix("files=").split(",") if query else []
            if asked.method == "DELETE":
                return self._cancel(ids, vo)
            return self._show(ids.split(","), fields, vo)

    def _submit(self, body: dict[str, Any], vo: str) -> tuple[int, Any]:
        params = body["params"]
        assert params["id_generator"] == "deterministic"
        job_id = str(uuid5(uuid5(BASE, vo), params["sid"]))
        if job_id in self.jobs:
            return 409, {"message": "The sid provided by the user is duplicated"}
        files = [
            File(
                entry["sources"][0],
                entry["destinations"][0],
                (entry["source_tokens"][0], entry["destination_tokens"][0]),
                entry.get("filesize"),
                entry.get("checksum"),
            )
            for entry in body["files"]
        ]
        written = {
            file.destination
            for job in self.jobs.values()
            for file in job.files
            if file.state not in ENDED
        }
        if self.forbids_duplicates and any(file.destination in written for file in files):
            return 409, {"message": "The submission is duplicated (dest_surl_uuid)"}
        job = self.jobs[job_id] = FtsJob(job_id, vo, params, files)
        for file in files:
            self._workers.submit(self._carry_out, job, file)
        return 200, {"job_id": job_id}

    def _show(self, ids: list[str], fields: list[str], vo: str) -> tuple[int, Any]:
        shown = [self._shown(job_id, fields, vo) for job_id in ids]
        if len(shown) == 1:
            return int(shown[0]["http_status"][:3]), shown[0]
        complete = all(it["http_status"] == _STATUSES[200] for it in shown)
        return (200 if complete else 207), shown

    def _shown(self, job_id: str, fields: list[str], vo: str) -> dict[str, Any]:
        job = self.jobs.get(job_id)
        if job is None or job.vo != vo:
            status = _STATUSES[404 if job is None else 403]
            return {"job_id": job_id, "http_status": status, "http_message": "No such job"}
        shown: dict[str, Any] = {
            "job_id": job_id,
            "job_state": job.state,
            "job_metadata": job.params["job_metadata"],
            "http_status": _STATUSES[200],
        }
        if fields:
            shown["files"] = [file.shown(fields) for file in job.files]
        return shown

    def _cancel(self, job_id: str, vo: str) -> tuple[int, Any]:
        job = self.jobs.get(job_id)
        if job is None or job.vo != vo:
            return 404, {"job_id": job_id, "http_status": _STATUSES[404]}
        if job.state in ENDED:
            return 200, self._shown(job_id, [], vo) | {"http_status": _STATUSES[304]}
        job.is_cancelled = True
        for file in job.files:
            if file.state not in ENDED:
                file.state, file.reason = "CANCELED", "Job canceled by the user"
        return 200, self._shown(job_id, [], vo)

    def _carry_out(self, job: FtsJob, file: File) -> None:
        while self.hold.is_set() and not self.ended.is_set() and not job.is_cancelled:
            self.ended.wait(0.02)
        with self.lock:
            if job.is_cancelled or self.ended.is_set():
                return
            file.state = "ACTIVE"
        try:
            reason = self._copied(job, file)
        except Exception as error:  # noqa: BLE001 - no file may stay ACTIVE for ever
            reason = f"GENERAL [5] {type(error).__name__}"
        with self.lock:
            if file.state not in ENDED:
                file.state, file.reason = ("FAILED", reason) if reason else ("FINISHED", "")

    def _copied(self, job: FtsJob, file: File) -> str:
        """Copy a file, and return why it failed, if it did."""
        path = unquote(urlsplit(file.destination).path)
        for end, reason in self._foretold.items():
            if path.endswith(end):
                return reason
        if any(path.endswith(end) for end in self.lies_about):
            return ""
        source, destination = _web(file.source), _web(file.destination)
        status, at_source = self._head(source, file.tokens[0])
        if status >= 300:
            return f"SOURCE {_said(status)}"
        if not job.params["overwrite"]:
            status, _ = self._head(destination, file.tokens[1])
            if status == 200:
                return "DESTINATION [17] Destination file exists and overwrite is not enabled"
        compares = job.params["verify_checksum"] == "both"
        if compares and not at_source:
            return "SOURCE [95] Checksum adler32 not supported by the storage"
        if compares and file.checksum and file.checksum.partition(":")[2] not in at_source:
            return "SOURCE [5] User defined checksum and source checksum do not match"
        if reason := self._pull(source, destination, file):
            return reason
        if compares:
            _, arrived = self._head(destination, file.tokens[1])
            if arrived != at_source:
                return "TRANSFER [5] DESTINATION CHECKSUM MISMATCH"
        return ""

    def _pull(self, source: str, destination: str, file: File) -> str:
        headers = {
            "Source": source,
            "Credential": "none",
            "Overwrite": "T",
            "Connection": "close",
            "TransferHeaderAuthorization": f"Bearer {file.tokens[0]}",
        }
        last = ""
        try:
            with self._sent("COPY", destination, file.tokens[1], headers) as answer:
                if answer.status >= 300:
                    return f"DESTINATION {_said(answer.status)}"
                for line in answer:
                    last = line.decode().strip() or last
                    if last.startswith("Stripe Bytes Transferred:"):
                        file.moved = int(last.rpartition(":")[2])
        except (OSError, http.client.HTTPException):
            return "TRANSFER [70] TRANSFER ERROR: connection reset"
        if last.startswith("success"):
            return ""
        return f"TRANSFER [70] TRANSFER ERROR: Copy failed (3rd pull). {last}"

    def _head(self, url: str, token: str) -> tuple[int, str]:
        with self._sent("HEAD", url, token, {"Want-Digest": "adler32"}) as answer:
            return answer.status, answer.headers.get("Digest", "")

    @contextmanager
    def _sent(
        self, method: str, url: str, token: str, headers: dict[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request. Not by urllib, which spells headers as XRootD does not know them."""
        parts = urlsplit(url)
        if parts.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.netloc, timeout=60, context=self.tls
            )
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        with closing(connection):
            signed = {**headers, "Authorization": f"Bearer {token}"}
            connection.request(method, parts.path, headers=signed)
            yield connection.getresponse()

    def close(self) -> None:
        """Stop copying."""
        self.ended.set()
        self._workers.shutdown(wait=True, cancel_futures=True)


def _web(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{ {'davs': 'https', 'dav': 'http'}[scheme] }://{rest}"


def _said(status: int) -> str:
    number = {401: 13, 403: 13, 404: 2, 507: 28}.get(status, 5)
    words = {404: "No such file or directory", 507: "No space left on device"}
    return f"[{number}] {words.get(status, f'Result HTTP {status} after 1 attempts')}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    tls: ssl.SSLContext | None = None

    def __init__(self, fts: FtsServer) -> None:
        self.fts = fts
        super().__init__(("127.0.0.1", 0), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the connection's own thread; a client may not trust the certificate."""
        if self.tls is not None:
            try:
                request = self.tls.wrap_socket(request, server_side=True)
            except OSError:
                return
        super().finish_request(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        headers = {name.lower(): value for name, value in self.headers.items()}
        status, document = self.server.fts.answer(Asked(self.command, self.path, headers, body))
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(
    tls: ssl.SSLContext | None = None, own: ssl.SSLContext | None = None
) -> Iterator[FtsServer]:
    """The server, for the length of the block. `tls` is how it looks at storages; with `own` it
    answers at https://localhost.
    """
    fts = FtsServer(tls=tls)
    with _Server(fts) as server, storages.serving(server.serve_forever, server.shutdown):
        port = server.server_address[1]
        fts.url = f"http://127.0.0.1:{port}"
        if own is not None:
            server.tls = own
            fts.url = f"https://localhost:{port}"
        try:
            yield fts
        finally:
            fts.hold.clear()
            fts.close()
