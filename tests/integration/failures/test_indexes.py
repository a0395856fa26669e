"""Indexes of web servers that are not whole, and what other servers write that loses nothing."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support import http_index, service_process
from support.forward_proxy import forward_proxy
from support.http_index import Index
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage, digest

FILES = {f"data/sub/{name}.bin": name.encode() for name in "abcdef"} | {"data/top.bin": b"top"}
WHOLE = {path.removeprefix("data/"): digest(content) for path, content in FILES.items()}
LOGIN = b"<!doctype html><html><form><input type=password name=p></form></html>"


def copied(
    index: Index, function: Function, to: Storage, folder: str, **request: Any
) -> tuple[int, list[dict[str, Any]], list[str]]:
    options = {"attempts": 1}
    answer = function.copy(index.endpoint("data/"), to.endpoint(folder), options=options, **request)
    result = checked_result(answer)
    warnings = [warning["code"] for warning in result.get("warnings", ())]
    return answer.status_code, result["errors"], warnings


def pages_of_three(path: str, query: str, page: bytes) -> bytes:
    """The index of the folder `sub` in pages."""
    if path != "/data/sub/":
        return page
    is_second = query in ("page=2", "C=N;O=D&offset=3")
    names = "def" if is_second else "abc"
    items = "".join(f'<li><a href="{name}.bin">{name}</a>' for name in names)
    return f'<html><body><a href="../">..</a><ul>{items}</ul>NEXT</body></html>'.encode()


@pytest.mark.field_case("K13")
@pytest.mark.parametrize(
    "link",
    [
        '<a href="?page=2">more</a>',
        '<a class=b href="/data/sub/?C=N;O=D&amp;offset=3">Z to A</a>',
        '<link rel="next" href="/data/sub/?page=2">',
    ],
)
def test_folder_whose_index_has_further_pages_is_no_success(
    link: str, function: Function, webdav: Storage
) -> None:
    with http_index.serving(FILES) as index:
        index.rewrite = lambda *asked: pages_of_three(*asked).replace(b"NEXT", link.encode())
        status, errors, _ = copied(index, function, webdav, uuid.uuid4().hex)
        assert status in (207, 422, 502), errors
        assert [(error["code"], error["side"]) for error in errors] == [("unsupported", "source")]
        assert [sample["path"] for sample in errors[0]["samples"]] == ["sub"]

        other = uuid.uuid4().hex
        only = {"exclude": ["sub/**"]}
        status, errors, _ = copied(index, function, webdav, other, selection=only)
        assert (status, errors) == (200, [])
        assert webdav.hashes(other) == {"top.bin": WHOLE["top.bin"]}


@pytest.mark.field_case("K13")
@pytest.mark.parametrize("end", ["<a href=", "d.bin</a>", "", "LOGIN"])
def test_folder_whose_index_is_cut_is_no_success(
    end: str, function: Function, webdav: Storage
) -> None:
    def cut(path: str, _: str, page: bytes) -> bytes:
        if path != "/data/sub/":
            return page
        if end == "LOGIN":
            return LOGIN
        items = "".join(f'<li><a href="{name}.bin">{name}</a>' for name in "abc")
        return f"<html><body><ul>{items}{end}".encode()

    with http_index.serving(FILES) as index:
        index.rewrite, index.old = cut, True
        status, errors, _ = copied(index, function, webdav, uuid.uuid4().hex)
    assert status in (207, 422, 502), errors
    assert [error["side"] for error in errors] == ["source"]
    assert [sample["path"] for sample in errors[0]["samples"]] == ["sub"]


PLAIN = "".join(f'<a href="{name}.bin">{name}</a>\n' for name in "abcdef")
HARMLESS = {
    "one page": f'<html><body><a href="?page=1">1</a><a href="?page=2">2</a>{PLAIN}</body></html>',
    "sorted": f'<html><a href="?C=N;O=D">Name</a><a href="?sort=size">Size</a><pre>{PLAIN}</pre>',
    "old, no end": f"<html><body><pre>{PLAIN}</pre>",
    "old, no html": PLAIN,
    "comment": f"<html><body><!-- <ul> --><pre>{PLAIN}</pre><hr></body>",
}


@pytest.mark.parametrize("page", HARMLESS)
def test_index_that_is_whole_is_copied(page: str, function: Function, webdav: Storage) -> None:
    folder = uuid.uuid4().hex
    with http_index.serving(FILES) as index:
        index.old = page.startswith("old")
        index.rewrite = lambda path, _, whole: (
            HARMLESS[page].encode() if path == "/data/sub/" else whole
        )
        assert copied(index, function, webdav, folder) == (200, [], [])
        assert index.seen.count(("GET", "/data/")) <= 3
    assert webdav.hashes(folder) == WHOLE


@pytest.mark.slow  # starts a service of its own
@pytest.mark.parametrize("gateway", ["0", "1"])
def test_indexes_are_read_through_the_proxy_of_the_site(
    gateway: str, tmp_path: Path, webdav: Storage
) -> None:
    """rclone uses it directly, or through the guard if a WebDAV storage has a gateway."""
    end, folder = webdav.endpoint(uuid.uuid4().hex), tmp_path / "run"
    folder.mkdir()
    with http_index.serving(FILES) as index:
        ports = {"index.example": index.url, "to.example": str(end["parameters"]["url"])}
        hosts = {host: urlsplit(url).port or 0 for host, url in ports.items()}
        end["parameters"] = {**end["parameters"], "url": "http://to.example"}
        source = {**index.endpoint("data/"), "parameters": {"url": "http://index.example"}}
        with (
            forward_proxy(hosts) as proxy,
            service_process.function(
                folder, site={"egress_proxy": proxy.url}, WEBDAV_GATEWAY=gateway
            ) as running,
        ):
            answer = running.copy(source, end)
            assert answer.status_code == 200, answer.text
            assert "warnings" not in answer.json()
            index.rewrite = lambda *asked: pages_of_three(*asked).replace(
                b"NEXT", b'<a href="?page=2">more</a>'
            )
            again = running.copy(source, end, options={"attempts": 1})
            [error] = checked_result(again)["errors"]
            assert error["code"] == "unsupported"
