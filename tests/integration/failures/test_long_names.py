"""Sources with names of hundreds of KB: they are cut in what is told, and not held in memory."""

from __future__ import annotations

import http.server
from collections.abc import Callable, Iterator
from typing import Any, Final
from xml.sax.saxutils import escape

import psutil
import pytest

from support import service_process
from support.http_servers import misbehaving, multistatus, reply
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage, digest
from support.watching import Watching

pytestmark = pytest.mark.field_case("K9")

MIB: Final = 1 << 20
LENGTH: Final = 300_000
GOOD: Final = b"good"


def names(count: int, sign: str) -> list[str]:
    return [f"{number:05}" + sign * (LENGTH // len(sign)) for number in range(count)]


Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


def webdav(long: list[str]) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.command == "PROPFIND" and handler.path.rstrip("/") == "/data":
            inside = {f"/data/{escape(name)}": 3 for name in long} | {"/data/good": len(GOOD)}
            shown = {"/data/": 0} | (inside if handler.headers.get("Depth") == "1" else {})
            reply(handler, 207, multistatus(shown), "text/xml")
        elif handler.command == "GET" and handler.path == "/data/good":
            reply(handler, 200, GOOD)
        else:
            reply(handler, 404)

    return answer


def index(long: list[str]) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.path == "/data/":
            links = [*long, "good"]
            page = "".join(f'<a href="{escape(link)}">x</a>\n' for link in links)
            reply(handler, 200, f"<html>{page}</html>".encode(), "text/html")
        elif handler.path == "/data/good":
            reply(handler, 200, GOOD, "application/octet-stream")
        else:
            reply(handler, 403)

    return answer


def bucket(long: list[str]) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        if "max-keys=" in handler.path:
            sizes = dict.fromkeys(long, 3) | {"good": len(GOOD)}
            items = "".join(
                f"<Contents><Key>data/{escape(name)}</Key><Size>{size}</Size><ETag>&quot;x&quot;"
                "</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
                for name, size in sizes.items()
            )
            page = "<Name>bucket</Name><Prefix>data/</Prefix><IsTruncated>false</IsTruncated>"
            document = f"<ListBucketResult>{page}{items}</ListBucketResult>"
            reply(handler, 200, document.encode(), "application/xml")
        elif handler.path.startswith("/bucket/data/good"):
            reply(handler, 200, GOOD)
        else:
            reply(handler, 404)

    return answer


KINDS: Final[dict[str, tuple[Callable[[list[str]], Answer], dict[str, Any]]]] = {
    "webdav": (webdav, {"type": "webdav", "parameters": {"vendor": "other"}, "path": "data"}),
    "http": (index, {"type": "http", "parameters": {}, "path": "data/"}),
    "s3": (
        bucket,
        {
            "type": "s3",
            "parameters": {
                "provider": "Other",
                "access_key_id": "canary",
                "secret_access_key": "canary-secret",
            },
            "path": "bucket/data",
        },
    ),
}


class Growth(Watching):
    """How much memory of the service's Python grows during a block."""

    period = 0.02

    def __init__(self, function: Function) -> None:
        super().__init__()
        self._worker: psutil.Process = function.worker()
        self._before = self._worker.memory_info().rss
        self.bytes = 0

    def look(self) -> None:
        self.bytes = max(self.bytes, self._worker.memory_info().rss - self._before)


@pytest.fixture
def fresh(gateway: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    """A service whose memory nothing has grown yet."""
    runtime = tmp_path_factory.mktemp("fresh")
    with service_process.function(runtime, WEBDAV_GATEWAY=gateway) as running:
        yield running
        running.wait_clean()


@pytest.mark.parametrize(
    ("kind", "sign", "count", "gateway"),
    [
        ("webdav", "n", 20, "1"),
        ("webdav", "n", 20, "0"),
        ("s3", "<", 20, "1"),  # six bytes in rclone's log
        ("http", "%C3%BC", 20, "1"),
        pytest.param("webdav", "n", 200, "1", marks=pytest.mark.slow),
        pytest.param("webdav", "n", 600, "0", marks=pytest.mark.slow),
        pytest.param("http", "n", 600, "1", marks=pytest.mark.slow),
        pytest.param("s3", "n", 600, "1", marks=pytest.mark.slow),
    ],
)
def test_names_of_hundreds_of_kilobytes(
    kind: str, sign: str, count: int, fresh: Function, s3: Storage, folder: str
) -> None:
    make, end = KINDS[kind]
    with misbehaving(make(names(count, sign))) as url, Growth(fresh) as growth:
        key = "endpoint" if kind == "s3" else "url"
        source = {**end, "parameters": {**end["parameters"], key: url}}
        options = {"report": "all", "deadline_seconds": 100}
        answer = fresh.copy(source, s3.endpoint(folder), options=options)
    print(f"{kind}: {growth.bytes // MIB} MiB more, {len(answer.content):,} bytes")
    result = checked_result(answer)
    log = fresh.log.read_text()
    assert "Traceback" not in log
    assert len(log) < 20_000
    assert len(answer.content) < 2_000 * count
    assert growth.bytes < 128 * MIB
    if answer.json()["code"] == "unsupported":  # of the gateway, for the folder
        assert f"{url}/data" in answer.json()["detail"]
        assert "64 KiB" in answer.json()["detail"]
        return
    assert (answer.status_code, answer.json()["code"]) == (502, "partial"), answer.text[:2_000]
    totals = result["totals"]["files"]
    assert (totals["transferred"], totals["failed"]) == (1, count)
    assert s3.hashes(f"bucket/{folder}") == {"good": digest(GOOD)}
    told = [file["path"] for file in result["files"] if file["state"] == "failed"]
    assert len(told) == len(set(told)) == count
    assert all(len(path) < 300 for path in told)
    assert all("characters, " in path for path in told)


def test_long_names_are_cut_at_a_destination_too(
    function: Function, s3: Storage, folder: str
) -> None:
    s3.fill(f"bucket/{folder}", {"good": GOOD})
    with misbehaving(webdav(names(50, "n"))) as url:
        destination = {
            "type": "webdav",
            "parameters": {"url": url, "vendor": "other"},
            "path": "data",
        }
        answer = function.copy(s3.endpoint(folder), destination)
    assert answer.status_code in (200, 422, 502), answer.text[:500]
    assert len(answer.content) < 10_000
