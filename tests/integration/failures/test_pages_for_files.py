"""Web servers that send a page, or something else, in place of a file."""

from __future__ import annotations

import http.server
from collections.abc import Callable
from typing import Final

import pytest

from support.http_servers import misbehaving
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage, digest

LOGIN: Final = b"<!doctype html><html><form><input type=password name=p></form></html>"
FILES: Final = {"a.nc": b"netcdf", "b.csv": b"1,2,3", "sub/c": b"text"}
BAD: Final = ("b.csv", "sub/c")
Handler = http.server.BaseHTTPRequestHandler


def send(handler: Handler, body: bytes, kind: str = "application/octet-stream") -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def redirect(handler: Handler, _: bytes) -> None:
    handler.send_response(302)
    handler.send_header("Location", f"/oauth/authorize?state={handler.path}")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def page(handler: Handler, _: bytes) -> None:
    send(handler, LOGIN, "text/html; charset=utf-8")


def error(handler: Handler, content: bytes) -> None:
    is_read = handler.command == "GET"
    send(handler, b'{"error": "rate limited"}' if is_read else content, "application/json")


def answer_by(bad: Callable[[Handler, bytes], None]) -> Callable[[Handler], None]:
    """An index of the files, of which some are sent as `bad` does."""

    def answer(handler: Handler) -> None:
        path = handler.path.partition("?")[0].removeprefix("/data/")
        if (content := FILES.get(path)) is not None:
            bad(handler, content) if path in BAD else send(handler, content)
        elif path in ("", "sub/"):
            names = {it.removeprefix(path) for it in FILES if it.startswith(path)}
            shown = {name.partition("/")[0] + ("/" if "/" in name else "") for name in names}
            links = "".join(f'<li><a href="{name}">{name}</a>' for name in sorted(shown))
            send(handler, f"<html><ul>{links}</ul></html>".encode(), "text/html")
        elif path.startswith("/oauth"):
            send(handler, LOGIN, "text/html")
        else:
            handler.send_error(404)

    return answer


@pytest.mark.field_case("A6", variant="a web server that sends a page, or an error, for a file")
@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (redirect, "permission_denied"),
        pytest.param(page, "permission_denied", marks=pytest.mark.slow),
        (error, "checksum_mismatch"),
    ],
)
def test_file_in_whose_place_something_else_is_sent_has_failed(
    bad: Callable[[Handler, bytes], None],
    code: str,
    function: Function,
    s3: Storage,
    folder: str,
) -> None:
    with misbehaving(answer_by(bad)) as url:
        source = {"type": "http", "parameters": {"url": url}, "path": "data"}
        options = {"attempts": 1}
        answer = function.copy(source, s3.endpoint(folder), options=options)
        [found] = checked_result(answer)["errors"]
        assert (answer.status_code, found["code"], found["side"]) == (502, code, "source")
        assert sorted(sample["path"] for sample in found["samples"]) == sorted(BAD)
        assert s3.hashes(f"bucket/{folder}")["a.nc"] == digest(FILES["a.nc"])

        single = {**source, "path": "data/b.csv"}
        assert (
            function.copy(single, s3.endpoint(f"{folder}/1/"), options=options).status_code != 200
        )
        selection = {"files": [{"path": "sub/c"}, {"path": "a.nc"}]}
        listed = function.copy(
            source, s3.endpoint(f"{folder}/2"), options=options, selection=selection
        )
        [found] = checked_result(listed)["errors"]
        assert [sample["path"] for sample in found["samples"]] == ["sub/c"]
