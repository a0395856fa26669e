"""Third-party copies where a name at the destination means something else than at the source."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from support import faulty_webdav, service_process, third_party_dav
from support.faulty_webdav import Faulty, Request
from support.service_process import Function
from support.storages import digest

SITE = {
    "engines": {"tpc": {}},
    "allow": {"hosts": ["127.0.0.1"], "networks": ["127.0.0.0/8"]},
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    with service_process.function(tmp_path_factory.mktemp("runtime"), site=SITE) as running:
        yield running
        running.wait_clean()


@pytest.fixture
def source() -> Iterator[Faulty]:
    with faulty_webdav.serving() as dav:
        dav.digest_of = third_party_dav.adler32
        yield dav


@pytest.fixture
def destination() -> Iterator[Faulty]:
    with faulty_webdav.serving() as dav:
        dav.digest_of = third_party_dav.adler32
        dav.copier = third_party_dav.pulls(dav)
        yield dav


def copy(
    function: Function, source: Faulty, destination: Faulty, name: str = "", **members: Any
) -> requests.Response:
    ends = source.endpoint(f"data{name}"), destination.endpoint(f"to{name}")
    return function.copy(*ends, engine="tpc", **members)


def errors(answer: requests.Response) -> list[tuple[str, str | None, int]]:
    body = answer.json()
    found = body.get("result", body)["errors"]
    return [(it["code"], it.get("side"), it["count"]) for it in found]


@pytest.mark.parametrize("how", ["walked", "listed", "single"])
@pytest.mark.parametrize("overwrite", ["changed", "always"])
def test_folder_in_place_of_a_file_stays_with_all_that_is_in_it(
    how: str, overwrite: str, function: Function, source: Faulty, destination: Faulty
) -> None:
    """A MOVE that overwrites a folder removes it first (RFC 4918, section 9.9.3)."""
    source.fill("data", {"a": b"1", "name": b"file"})
    kept = destination.fill("to", {"name/of/old": b"old"})
    members: dict[str, Any] = {"options": {"overwrite": overwrite}}
    if how == "listed":
        members["selection"] = {"files": [{"path": "a"}, {"path": "name"}]}
    answer = copy(function, source, destination, "/name" if how == "single" else "", **members)
    assert errors(answer) == [("not_a_directory", "destination", 1)], answer.text
    copied = {} if how == "single" else {"a": digest(b"1")}
    assert destination.hashes("to") == kept | copied


def test_file_in_place_of_a_folder_stays(
    function: Function, source: Faulty, destination: Faulty
) -> None:
    source.fill("data", {"a": b"1", "name/file": b"new", "name/in/name": b"newer"})
    destination.fill("to", {"name": b"old"})
    answer = copy(function, source, destination, options={"attempts": 1})
    assert errors(answer) == [("not_a_directory", "destination", 2)], answer.text
    assert destination.hashes("to") == {"a": digest(b"1"), "name": digest(b"old")}


def test_names_that_are_one_at_the_destination_do_not_replace_each_other(
    function: Function, source: Faulty, destination: Faulty
) -> None:
    destination.blind = True
    files = {"README": b"one", "readme": b"another", "x": b"x"}
    source.fill("data", files)
    answer = copy(function, source, destination)
    assert errors(answer) == [("name_refused", "destination", 1)], answer.text
    found = destination.hashes("to")
    assert len(found) == 2
    assert found.items() <= {path: digest(content) for path, content in files.items()}.items()
    again = copy(function, source, destination)
    assert errors(again) == [("name_refused", "destination", 1)], again.text
    assert destination.hashes("to") == found


def test_file_that_appears_meanwhile_stays_where_none_may_be_replaced(
    function: Function, source: Faulty, destination: Faulty
) -> None:
    source.fill("data", {"a": b"1"})
    pulls = third_party_dav.pulls(destination)

    def copy_late(request: Request) -> Iterator[bytes]:
        destination.fill("to", {"a": b"of another client"})
        return pulls(request)

    destination.copier = copy_late
    answer = copy(function, source, destination, options={"overwrite": "never"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["totals"]["skipped"] == {"exists": 1}
    assert destination.hashes("to") == {"a": digest(b"of another client")}


@pytest.mark.parametrize("decodes", [True, False])
def test_files_whose_names_look_encoded_are_not_mixed_up(
    decodes: bool, function: Function, source: Faulty, destination: Faulty
) -> None:
    """XRootD would move `a b` to `a%20b`, where another file may be."""
    destination.decodes = decodes
    kept = destination.fill("to", {"a%20b": b"old", "s%20b/a%20b": b"old", "s b/old": b"old"})
    hashes = source.fill("data", {"a b": b"new", "s b/a b": b"newer", "s b/\u00fc%2E": b"3"})
    answer = copy(function, source, destination)
    assert answer.status_code == 200, answer.text
    assert destination.hashes("to") == kept | hashes


def test_folders_are_listed_several_at_a_time(
    function: Function, source: Faulty, destination: Faulty
) -> None:
    hashes = source.fill("data", {f"{number}/file": b"1" for number in range(4)})
    together = threading.Barrier(4, timeout=60)

    def wait_for_others(path: str, body: bytes) -> bytes:
        if path.count("/") == 2:
            together.wait()
        return body

    source.rewrite = wait_for_others
    answer = copy(function, source, destination)
    assert answer.status_code == 200, answer.text
    assert destination.hashes("to") == hashes


def test_folders_below_a_missing_one_are_not_asked_for(
    function: Function, source: Faulty, destination: Faulty
) -> None:
    source.fill("data", {"x/y/z/file": b"1", "x/file": b"2"})
    answer = copy(function, source, destination)
    assert answer.status_code == 200, answer.text
    asked = [it.path for it in destination.seen("PROPFIND") if it.headers["depth"] == "1"]
    assert asked == ["/to"]


def test_listing_that_fails_is_no_success(
    function: Function, source: Faulty, destination: Faulty
) -> None:
    source.fill("data", {"a": b"1", "x/b": b"2", "y/c": b"3"})
    source.fail("PROPFIND", "/data/x", faulty_webdav.status(403))
    answer = copy(function, source, destination)
    assert errors(answer) == [("permission_denied", "source", 1)], answer.text
    assert destination.hashes("to") == {"a": digest(b"1"), "y/c": digest(b"3")}


def test_dry_run_compares_no_checksums(
    function: Function, source: Faulty, destination: Faulty
) -> None:
    source.fill("data", {"a": b"1"})
    assert copy(function, source, destination).status_code == 200
    destination.heal()
    answer = copy(function, source, destination, options={"dry_run": True, "verify": "checksum"})
    assert answer.status_code == 200, answer.text
    assert not destination.seen("HEAD")
