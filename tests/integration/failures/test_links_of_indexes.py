"""Entries of an index that rclone does not take for any, and pages that are no index at all."""

from __future__ import annotations

import re
from typing import Any

import pytest

from support import http_index
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage, digest

FILES = {"data/a.txt": b"1", "data/b.txt": b"22", "data/sub/c.txt": b"333"}
WHOLE = {path.removeprefix("data/"): digest(content) for path, content in FILES.items()}
# What takes the place of the link to one file.
LINKS = {
    "a query": '<a href="b.txt?download=1">b.txt</a>',
    "a session": '<a href="b.txt;jsessionid=1">b.txt</a>',
    "another case": '<a href="/Data/b.txt">b.txt</a>',
    "an empty name": '<a href="/data//b.txt">b.txt</a>',
    "another scheme": '<a href="https://127.0.0.1/data/b.txt">b.txt</a>',
    "another name of the host": '<a href="http://localhost/data/b.txt">b.txt</a>',
    "a script of the server": '<a href="get.php?file=b.txt">b.txt</a>',
    "a script": "<a href=\"javascript:get('b.txt')\">b.txt</a>",
    "a script, no address": "<a onclick=\"get('b.txt')\">b.txt</a>",
}
FAST = ("a query", "another case")


def changed(link: str) -> Any:
    return lambda path, _, page: (
        re.sub(rb'<a href="b.txt">b.txt</a>', link.encode(), page) if path == "/data/" else page
    )


@pytest.mark.field_case(
    "A6", "A9", variant="an HTTP index whose links have a query, another case or a script"
)
@pytest.mark.parametrize(
    "link", [pytest.param(it, marks=() if it in FAST else pytest.mark.slow) for it in LINKS]
)
@pytest.mark.parametrize("options", [{"verify": "size"}])
def test_entry_whose_link_cannot_be_followed_is_a_failed_file(
    link: str, options: dict[str, Any], function: Function, s3: Storage, folder: str
) -> None:
    with http_index.serving(FILES) as index:
        index.rewrite = changed(LINKS[link])
        source = index.endpoint("data/")
        answer = function.copy(source, s3.endpoint(folder), options={"attempts": 1, **options})
        [error] = checked_result(answer)["errors"]
        assert (answer.status_code, error["code"], error["side"]) == (502, "unsupported", "source")
        assert [sample["path"] for sample in error["samples"]] == ["b.txt"]
        arrived = {path: hash_ for path, hash_ in WHOLE.items() if path != "b.txt"}
        assert s3.hashes(f"bucket/{folder}") == arrived

        selection = {"exclude": ["b.txt"]}
        again = function.copy(source, s3.endpoint(f"{folder}/2"), selection=selection)
        assert again.status_code == 200, again.text
        [error] = checked_result(
            function.copy(source, s3.endpoint(folder), options={"dry_run": True})
        )["errors"]
        assert error["samples"][0]["path"] == "b.txt"


BESIDE = (
    '<a href="?C=N;O=D">Name</a><a href="/">Home</a><a href="../">Up</a><a href="/login?next=/data/'
    '">Sign in</a><a href="/about/team.html">Team</a><a href="https://example.org/">example.org</a>'
    '<a href="#top">Top</a><a href="gone.txt?raw=1">gone.txt</a><a href="mailto:a@b.c">a@b.c</a>'
    '<a href="a.txt?download=1">a.txt</a><p>1 - 3 of 3 files</p><button disabled>Next</button>'
)


def test_links_that_are_no_entries_are_no_failures(
    function: Function, s3: Storage, folder: str
) -> None:
    with http_index.serving({**FILES, "data/empty/": b""}) as index:
        index.rewrite = lambda _path, _query, page: page.replace(b"<ul>", f"{BESIDE}<ul>".encode())
        answer = function.copy(index.endpoint("data/"), s3.endpoint(folder))
    assert answer.status_code == 200, answer.text
    assert "warnings" not in answer.json()
    assert s3.hashes(f"bucket/{folder}") == WHOLE


PAGES = {
    "made by a script": '<html><body><div id="app"></div><script src="app.js"></script>',
    "a notice": "<html><head><title>Maintenance</title></head><body><p>Back soon.</body></html>",
    "frames": '<html><frameset><frame src="/list.html"></frameset></html>',
}
MORE = {
    "a button": '<ul><li><a href="c.txt">c.txt</a></ul><button id=more>Load more</button>',
    "a count": '<p>1&#8211;1 of 2,500</p><ul><li><a href="c.txt">c.txt</a></ul>',
}
TEXTS = {**PAGES, **MORE}


@pytest.mark.field_case("K13", variant="an HTTP folder whose page a script makes or completes")
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(it, marks=() if it in ("made by a script", "a count") else pytest.mark.slow)
        for it in TEXTS
    ],
)
def test_folder_whose_page_is_no_whole_index_is_no_success(
    page: str, function: Function, s3: Storage, folder: str
) -> None:
    with http_index.serving(FILES) as index:
        index.rewrite = lambda path, _, whole: (
            TEXTS[page].encode() if path == "/data/sub/" else whole
        )
        options = {"attempts": 1}
        answer = function.copy(index.endpoint("data/"), s3.endpoint(folder), options=options)
    [error] = checked_result(answer)["errors"]
    assert (answer.status_code, error["code"], error["side"]) == (502, "unsupported", "source")
    assert [sample["path"] for sample in error["samples"]] == ["sub"]
