"""Files that an HTTP server sends without their size: what is not whole is found and removed."""

from __future__ import annotations

import http.server
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pytest

from support.http_servers import misbehaving
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage, digest

FILE: Final = b"0123456789" * 3_000
GOOD: Final = b"good"


@dataclass
class Server:
    """A server with an index of two files. `sends` is how it sends `bad`: with its size, without
    (`open`), half of it, nothing, or in chunks that break off; `told` is its size by HEAD.
    """

    sends: str
    told: int | None
    url: str = ""

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        is_head = handler.command == "HEAD"
        if handler.path.endswith("/"):
            _send(handler, b'<a href="bad">bad</a><a href="good">good</a>', kind="text/html")
        elif handler.path.endswith("/good"):
            _send(handler, GOOD)
        elif is_head or self.sends == "size":
            _send(handler, FILE, length=self.told if is_head else len(FILE))
        elif self.sends == "nothing":
            handler.send_response(204)
            handler.end_headers()
        elif self.sends == "broken":
            half = FILE[: len(FILE) // 2]
            chunk = b"%x\r\n%b\r\n" % (len(half), half)
            _send(handler, chunk, length=None, transfer_encoding="chunked")
        else:
            _send(handler, FILE[: len(FILE) // 2] if self.sends == "half" else FILE, length=None)

    def endpoint(self, path: str) -> dict[str, Any]:
        return {"type": "http", "parameters": {"url": self.url}, "path": path}


def _send(
    handler: http.server.BaseHTTPRequestHandler,
    body: bytes,
    *,
    kind: str = "application/octet-stream",
    length: int | None = -1,
    transfer_encoding: str = "",
) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    handler.send_header("Last-Modified", "Wed, 25 Nov 2026 10:00:00 GMT")
    if length is not None:
        handler.send_header("Content-Length", str(len(body) if length < 0 else length))
    else:
        handler.close_connection = True
    if transfer_encoding:
        handler.send_header("Transfer-Encoding", transfer_encoding)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


@contextmanager
def serving(sends: str, told: int | None) -> Iterator[Server]:
    server = Server(sends, told)
    with misbehaving(server.answer) as url:
        server.url = url
        yield server


def hashes(storage: Storage, folder: str) -> dict[str, str]:
    return storage.hashes("/".join(filter(None, (storage.base, folder))))


@pytest.mark.field_case(
    "C2", variant="HTTP without a length that breaks off or is shorter than HEAD says"
)
@pytest.mark.parametrize("at", ["sftp", "s3", pytest.param("wsgidav", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("sends", "told", "code"),
    [
        ("half", len(FILE), "checksum_mismatch"),
        ("nothing", len(FILE), "checksum_mismatch"),
        ("broken", None, "storage_unreachable"),
    ],
)
def test_file_that_is_not_whole_is_no_success(
    sends: str,
    told: int | None,
    code: str,
    at: str,
    function: Function,
    storages: dict[str, Storage],
    folder: str,
) -> None:
    to = storages[at]
    with serving(sends, told) as server:
        request = {"source": server.endpoint("data/"), "destination": to.endpoint(folder)}
        answer = function.post(request)
        assert answer.status_code == 502, answer.text
        (error,) = checked_result(answer)["errors"]
        assert (error["code"], error["side"], error["retryable"]) == (code, "source", True)
        assert [sample["path"] for sample in error["samples"]] == ["bad"]
        # Otherwise the next request would find its time, and no size to compare.
        assert hashes(to, folder) == {"good": digest(GOOD)}
        server.sends = "size"
        assert function.post(request).status_code == 200
    assert hashes(to, folder) == {"good": digest(GOOD), "bad": digest(FILE)}


@pytest.mark.parametrize("sends", ["half", "broken"])
def test_single_file_that_is_not_whole_is_no_success(
    sends: str, function: Function, s3: Storage, folder: str
) -> None:
    with serving(sends, len(FILE)) as server:
        answer = function.copy(server.endpoint("data/bad"), s3.endpoint(f"{folder}/"))
    assert answer.status_code != 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == {}


@pytest.mark.parametrize("told", [len(FILE), 0, None])
def test_whole_file_without_a_size_is_copied(
    told: int | None, function: Function, s3: Storage, folder: str
) -> None:
    with serving("open", told) as server:
        answer = function.copy(server.endpoint("data/"), s3.endpoint(folder))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == {"good": digest(GOOD), "bad": digest(FILE)}
