"""An HTTP index that links to folders without a `/`: no page arrives in place of a folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import http_index
from support.http_index import Index
from support.service_process import Function
from support.storages import Storage, digest

FILES = {
    "data/a.txt": b"1",
    "data/sub/b.txt": b"22",
    "data/v1.2/c.txt": b"333",
    "data/README": b"4444",
}
ERRORS = ("unsupported", "source")


@pytest.fixture
def index() -> Iterator[Index]:
    with http_index.serving(FILES) as running:
        running.slashes = False
        yield running


@pytest.mark.field_case("A7")
def test_folder_without_slash_is_a_problem_that_names_the_remedy(
    function: Function, index: Index, s3: Storage, folder: str
) -> None:
    options = {"verify": "size"}
    answer = function.copy(index.endpoint("data/"), s3.endpoint(folder), options=options)
    assert (answer.status_code, answer.json()["code"]) == (502, "partial"), answer.text
    (error,) = answer.json()["result"]["errors"]
    assert (error["code"], error["side"]) == ERRORS
    assert sorted(sample["path"] for sample in error["samples"]) == ["sub", "v1.2"]
    assert "no_slash" in error["samples"][0]["message"]
    arrived = s3.hashes(f"bucket/{folder}")
    assert (arrived["a.txt"], arrived["README"]) == (digest(b"1"), digest(b"4444"))
    # The remedy.
    source = index.endpoint("data/")
    source["parameters"]["no_slash"] = True
    again = function.copy(source, s3.endpoint(f"{folder}/again"))
    assert again.status_code == 200, again.text
    assert s3.hashes(f"bucket/{folder}/again") == {
        path.removeprefix("data/"): digest(content) for path, content in FILES.items()
    }


def test_dry_run_reports_a_folder_without_slash(
    function: Function, index: Index, s3: Storage, folder: str
) -> None:
    options = {"dry_run": True}
    answer = function.copy(index.endpoint("data/"), s3.endpoint(folder), options=options)
    (error,) = answer.json()["result"]["errors"]
    assert (error["code"], error["side"], error["count"]) == (*ERRORS, 2)


@pytest.mark.parametrize("options", [{}, {"dry_run": True}])
def test_names_without_extension_alone_are_no_reason_to_ask_again(
    options: dict[str, bool], function: Function, index: Index, s3: Storage, folder: str
) -> None:
    index.slashes = True
    answer = function.copy(index.endpoint("data/"), s3.endpoint(folder), options=options)
    assert answer.status_code == 200, answer.text
    # The listings of the probe and of the copy, and the look at what was sent. A dry run has no
    # probe: it lists the folder to see whether times are kept, and asks for the type.
    assert index.seen.count(("HEAD", "/data/README")) == 3
    assert index.seen.count(("HEAD", "/data/a.txt")) == (2 if options else 3)


@pytest.mark.parametrize("name", ["page", "page.html"])
def test_page_that_is_a_file_is_copied(
    name: str, function: Function, index: Index, s3: Storage, folder: str
) -> None:
    index.slashes = True
    index.files |= {f"data/{name}": b"<html>a page</html>"}
    index.pages = {f"data/{name}"}
    answer = function.copy(index.endpoint("data/"), s3.endpoint(folder))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}")[name] == digest(b"<html>a page</html>")
