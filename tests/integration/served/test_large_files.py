"""Large files of a list: read in one piece, and resumed where the connection broke."""

from __future__ import annotations

import hashlib
import http.server
import os

import pytest

from support.published import Published, cut_after, send, send_file, stored, urls
from support.service_process import Function
from support.storages import Storage, digest


@pytest.mark.slow
def test_large_file_is_read_once_where_a_storage_takes_parts(
    function: Function, web: Published, s3: Storage, to: str
) -> None:
    content = os.urandom(1 << 20) * 80
    web.files["/large"] = content
    checksum = f"sha256:{digest(content)}"
    files = [{"url": web.at("/large"), "path": "f", "size": len(content), "checksum": checksum}]
    answer = function.copy(urls(files), s3.endpoint(to))
    assert answer.status_code == 200, answer.text
    assert stored(s3, to) == {"f": digest(content)}
    assert web.read("/large") == ["GET"]
    web.files["/large"] = content[:-1] + b"x"
    # The same size, so only the checksum tells that it is another one.
    answer = function.copy(urls(files), s3.endpoint(f"{to}-2"), options={"attempts": 1})
    assert answer.status_code == 502
    assert answer.json()["code"] == "checksum_mismatch", answer.text
    assert stored(s3, f"{to}-2") == {}


def test_rest_of_a_file_is_asked_for_where_the_connection_broke(
    function: Function, web: Published, webdav: Storage, to: str
) -> None:
    content = os.urandom(700_000)
    web.answers["/breaks"] = cut_after(content, 400_000)
    files = [{"url": web.at("/breaks"), "path": "f", "size": len(content)}]
    answer = function.copy(urls(files), webdav.endpoint(to), options={"attempts": 1})
    assert answer.status_code == 200, answer.text
    assert stored(webdav, to) == {"f": digest(content)}
    asked = [it["Range"] for method, _, it in web.seen if method == "GET" and "Range" in it]
    assert len(asked) == 1
    first = int(asked[0].removeprefix("bytes=").removesuffix("-"))
    assert 0 < first <= 400_000


def test_rest_of_another_version_is_no_rest(
    function: Function, web: Published, webdav: Storage, to: str
) -> None:
    content, other = os.urandom(700_000), os.urandom(700_000)
    cut = cut_after(content, 400_000)
    web.answers["/breaks"] = lambda it: send_file(it, other) if "Range" in it.headers else cut(it)
    files = [{"url": web.at("/breaks"), "path": "f", "size": len(content)}]
    answer = function.copy(urls(files), webdav.endpoint(to), options={"attempts": 1})
    assert answer.status_code == 502
    assert stored(webdav, to) == {}


def test_file_of_unknown_size_is_copied_without_it(
    function: Function, web: Published, webdav: Storage, to: str
) -> None:
    content = os.urandom(300_000)

    def chunked(it: http.server.BaseHTTPRequestHandler) -> None:
        if it.command == "HEAD" or "Range" in it.headers:
            send(it, 405)
            return
        it.send_response(200)
        it.send_header("Transfer-Encoding", "chunked")
        it.end_headers()
        for start in range(0, len(content), 100_000):
            piece = content[start : start + 100_000]
            it.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        it.wfile.write(b"0\r\n\r\n")

    web.answers["/stream"] = chunked
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    files = [
        {"url": web.at("/stream"), "path": "a"},
        {"url": web.at("/stream"), "path": "b", "checksum": f"md5:{md5}"},
        {"url": web.at("/stream"), "path": "c", "checksum": f"md5:{'0' * 32}"},
    ]
    answer = function.copy(urls(files), webdav.endpoint(to), options={"attempts": 1})
    assert answer.status_code == 502
    assert stored(webdav, to) == {"a": digest(content), "b": digest(content)}
