"""Files at URLs, listed in the request: they arrive byte by byte, or fail with their reason."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest

from support.published import (
    Published,
    cut_after,
    manifest,
    page,
    redirect,
    send,
    send_file,
    stored,
    urls,
)
from support.service_process import Function
from support.storages import Storage


def sum_of(content: bytes, kind: str = "sha256") -> str:
    return f"{kind}:{hashlib.new(kind, content).hexdigest()}"


def listed(web: Published, path: str, **members: Any) -> dict[str, Any]:
    return {"url": web.at(f"/{path}"), "path": path, **members}


def failures(answer: Any) -> dict[str, str]:
    """The codes of the files that failed."""
    document = answer.json()
    files = document.get("result", document)["files"]
    return {it["path"]: it["error"]["code"] for it in files if it["state"] == "failed"}


def test_listed_files_arrive_and_a_second_run_skips_them(
    function: Function, web: Published, webdav: Storage, to: str
) -> None:
    contents = {
        "a.bin": os.urandom(1000),
        "folder/b c.bin": os.urandom(700_000),
        "folder/deep/ü.txt": b"text",
        "empty": b"",
    }
    expected = web.fill(contents)
    files = [
        listed(web, "a.bin", size=1000, checksum=sum_of(contents["a.bin"], "md5")),
        {
            "url": web.at("/folder/b%20c.bin"),
            "path": "folder/b c.bin",
            "size": 700_000,
            "checksum": sum_of(contents["folder/b c.bin"]),
        },
        {"url": web.at("/folder/deep/%C3%BC.txt"), "path": "folder/deep/ü.txt"},
        listed(web, "empty", size=0),
    ]
    web.files |= {
        "/folder/b%20c.bin": contents["folder/b c.bin"],
        "/folder/deep/%C3%BC.txt": contents["folder/deep/ü.txt"],
    }
    answer = function.copy(urls(files), webdav.endpoint(to))
    assert answer.status_code == 200, answer.text
    assert answer.json()["totals"]["files"]["transferred"] == 4
    assert stored(webdav, to) == expected
    read = len(web.seen)
    again = function.copy(urls(files), webdav.endpoint(to))
    assert again.status_code == 200, again.text
    assert again.json()["totals"]["files"] == {"transferred": 0, "skipped": 4, "failed": 0}
    # Only the size of the file without one was asked for.
    assert {method for method, _, _ in web.seen[read:]} <= {"HEAD"}


@pytest.mark.parametrize("size", [1000, 900_000])
def test_file_with_another_checksum_is_not_copied(
    function: Function, web: Published, webdav: Storage, to: str, size: int
) -> None:
    good, bad = os.urandom(size), os.urandom(size)
    expected = web.fill({"good": good})
    web.fill({"bad": bad})
    files = [
        listed(web, "good", size=size, checksum=sum_of(good)),
        listed(web, "bad", size=size, checksum=sum_of(good)),
    ]
    answer = function.copy(urls(files), webdav.endpoint(to), options={"attempts": 1})
    assert answer.status_code == 502
    assert failures(answer) == {"bad": "checksum_mismatch"}
    assert stored(webdav, to) == expected


def test_next_url_is_asked_where_one_fails(
    function: Function, web: Published, webdav: Storage, to: str
) -> None:
    contents = {name: os.urandom(600_000) for name in ("missing", "differs", "breaks", "small")}
    contents["small"] = os.urandom(100)
    expected = web.fill(contents)
    web.files |= {f"/mirror/{name}": content for name, content in contents.items()}
    web.answers["/missing"] = lambda it: send(it, 404)
    web.answers["/differs"] = page
    web.answers["/breaks"] = cut_after(contents["breaks"], 300_000)
    web.answers["/small"] = lambda it: send_file(it, os.urandom(100))
    files = [
        listed(
            web,
            name,
            size=len(content),
            checksum=sum_of(content),
            mirrors=[web.at(f"/mirror/{name}")],
        )
        for name, content in contents.items()
    ]
    answer = function.copy(urls(files), webdav.endpoint(to), options={"attempts": 1})
    assert answer.status_code == 200, answer.text
    assert stored(webdav, to) == expected


def test_each_failure_has_its_reason(
    function: Function, web: Published, webdav: Storage, to: str
) -> None:
    expected = web.fill({"good": b"good"})
    web.answers |= {
        "/login": page,
        "/longer": lambda it: send_file(it, b"12345"),
        "/forbidden": lambda it: send(it, 403),
        "/inside": redirect("http://10.11.12.13:9/secret"),
        "/signed-in": lambda it: send(it, 401),
    }
    files = [
        listed(web, "good", size=4),
        listed(web, "login"),
        listed(web, "longer", size=4),
        listed(web, "missing", size=4),
        listed(web, "forbidden", size=4),
        listed(web, "inside", size=4),
        listed(web, "signed-in", size=4),
    ]
    answer = function.copy(urls(files), webdav.endpoint(to), options={"attempts": 1})
    assert answer.status_code == 502
    assert failures(answer) == {
        "login": "storage_error",
        "longer": "checksum_mismatch",
        "missing": "source_not_found",
        "forbidden": "permission_denied",
        "inside": "forbidden",
        "signed-in": "authentication_failed",
    }
    assert stored(webdav, to) == expected


@pytest.mark.parametrize(
    ("paths", "wrong"),
    [
        (["../a"], ["/source/parameters/files/0/path"]),
        (["/a"], ["/source/parameters/files/0/path"]),
        (["a/../b"], ["/source/parameters/files/0/path"]),
        (["a", "A"], ["/source/parameters/files/1/path"]),
        (["\u00e9", "e\u0301"], ["/source/parameters/files/1/path"]),
        (["a", "a/b"], ["/source/parameters/files/1/path"]),
        (["A/x", "a/y"], ["/source/parameters/files/1/path"]),
    ],
)
def test_paths_that_no_storage_may_get_are_refused(
    function: Function, web: Published, webdav: Storage, to: str, paths: list[str], wrong: list[str]
) -> None:
    files = [{"url": web.at("/f"), "path": path} for path in paths]
    answer = function.copy(urls(files), webdav.endpoint(to))
    assert answer.status_code == 400
    assert [it["pointer"] for it in answer.json()["errors"]] == wrong
    assert not web.seen


def test_credential_goes_to_its_host_alone(
    function: Function, web: Published, webdav: Storage, to: str
) -> None:
    expected = web.fill({"a": b"1", "b": b"22"})
    other = web.url.replace("127.0.0.1", "localhost")
    web.answers["/moved"] = redirect(f"{other}/b")
    files = [listed(web, "a", size=1), {"url": web.at("/moved"), "path": "b", "size": 2}]
    host = web.url.partition("://")[2]
    credentials = [{"host": host, "bearer_token": "canary-token"}]
    answer = function.copy(urls(files, credentials=credentials), webdav.endpoint(to))
    assert answer.status_code == 200, answer.text
    assert stored(webdav, to) == expected
    by_host = {(it["Host"], it.get("Authorization")) for _, _, it in web.seen}
    assert by_host == {(host, "Bearer canary-token"), (other.partition("://")[2], None)}
    assert "canary" not in answer.text


def test_manifest_of_lines(function: Function, web: Published, webdav: Storage, to: str) -> None:
    contents = {"x/a.bin": os.urandom(5000), "x/b.bin": os.urandom(10)}
    expected = web.fill(contents)
    lines = ["TsvHttpData-1.0"]
    for path, content in contents.items():
        digest = hashlib.md5(content, usedforsecurity=False).digest()
        lines.append(f"{web.at('/' + path)}\t{len(content)}\t{b64(digest)}")
    lines.append(f"{web.at('/x/../../c')}\t1")
    web.files["/list.tsv"] = "\n".join(lines).encode()
    source = manifest(web.at("/list.tsv"))
    answer = function.copy(source, webdav.endpoint(to))
    assert answer.status_code == 502
    assert failures(answer) == {"127.0.0.1/x/../../c": "name_refused"}
    assert stored(webdav, to) == {f"127.0.0.1/{path}": it for path, it in expected.items()}


def b64(raw: bytes) -> str:
    import base64

    return base64.b64encode(raw).decode()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (None, "source_not_found"),
        (b"TsvHttpData-1.0\nnot a url\n", "unsupported"),
        (b"<html>Sign in</html>", "unsupported"),
    ],
)
def test_list_that_cannot_be_read_has_its_reason(
    function: Function, web: Published, webdav: Storage, to: str, body: bytes | None, code: str
) -> None:
    if body is not None:
        web.files["/list"] = body
    source = manifest(web.at("/list"))
    answer = function.copy(source, webdav.endpoint(to), options={"attempts": 1})
    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.text
    assert stored(webdav, to) == {}
