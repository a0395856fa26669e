"""The engine `tpc` lists and checks a storage by itself, through the HTTP door."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from support import faulty_webdav, service_process, third_party_dav
from support.contract import complaints
from support.faulty_webdav import Faulty
from support.service_process import Function
from support.xrootd import Grid

pytestmark = pytest.mark.slow
SITE = {
    "engines": {"tpc": {}},
    "allow": {"hosts": ["localhost", "127.0.0.1"], "networks": ["127.0.0.0/8"]},
}


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    with service_process.function(tmp_path_factory.mktemp("runtime"), site=SITE) as running:
        yield running
        running.wait_clean()


@pytest.fixture
def dav() -> Iterator[Faulty]:
    with faulty_webdav.serving() as running:
        running.fill("data", {"b.txt": b"12", "a/deep": b"1"})
        yield running


def ask(function: Function, path: str, endpoint: Any, **members: Any) -> requests.Response:
    request = {"engine": "tpc", "endpoint": endpoint, **members}
    return requests.post(f"{function.url}/{path}", json=request, timeout=60)


def checked(function: Function, endpoint: Any, **members: Any) -> Any:
    answer = ask(function, "check", endpoint, **members)
    assert answer.status_code == 200, answer.text
    check = answer.json()
    assert complaints("check", check) == []
    return check


def steps(check: Any) -> list[tuple[str, str, str | None]]:
    return [
        (step["step"], step["state"], step.get("error", {}).get("code")) for step in check["steps"]
    ]


def test_folder_is_listed_with_sizes_and_times(function: Function, dav: Faulty) -> None:
    answer = ask(function, "list", dav.storage.endpoint("data"))
    assert answer.status_code == 200, answer.text
    listing = answer.json()
    assert complaints("listing", listing) == []
    assert [(it["name"], it["type"], it.get("size")) for it in listing["entries"]] == [
        ("a", "folder", None),
        ("b.txt", "file", 2),
    ]
    assert "modified" in listing["entries"][1]
    first = ask(function, "list", dav.storage.endpoint("data"), limit=1).json()
    assert ([it["name"] for it in first["entries"]], first["count"]) == (["a"], 2)
    # Not by rclone, which sends its name.
    agents = {it.headers.get("user-agent", "") for it in dav.seen("PROPFIND")}
    assert not any("rclone" in agent for agent in agents)
    file = ask(function, "list", dav.storage.endpoint("data/b.txt")).json()
    assert [(it["name"], it["size"]) for it in file["entries"]] == [("b.txt", 2)]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("data/none", 422, "source_not_found"), ("data/b.txt/", 422, "not_a_directory")],
)
def test_path_that_cannot_be_listed_is_a_problem(
    function: Function, dav: Faulty, path: str, status: int, code: str
) -> None:
    answer = ask(function, "list", {**dav.storage.endpoint(""), "path": path})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_check_tells_the_step_that_failed(function: Function, dav: Faulty) -> None:
    endpoint = dav.storage.endpoint("data")
    ok = [("reach", "ok", None), ("sign_in", "ok", None), ("read", "ok", None)]
    assert steps(checked(function, endpoint)) == [*ok, ("write", "skipped", None)]
    dav.fail("PUT", "*", faulty_webdav.status(403))
    assert steps(checked(function, endpoint, write=True)) == [
        *ok,
        ("write", "failed", "permission_denied"),
    ]
    dav.heal()
    dav.fail("PROPFIND", "*", faulty_webdav.status(401))
    assert steps(checked(function, endpoint))[1] == ("sign_in", "failed", "authentication_failed")
    dav.heal()
    missing = checked(function, dav.storage.endpoint("none"))
    assert steps(missing)[2] == ("read", "failed", "source_not_found")


@pytest.mark.parametrize(("copies", "ways"), [(True, ["pull"]), (False, [])])
def test_check_tries_out_copies_and_leaves_nothing(
    function: Function, dav: Faulty, copies: bool, ways: list[str]
) -> None:
    dav.digest_of = third_party_dav.adler32
    if copies:
        dav.copier = third_party_dav.pulls(dav)
    before = dict(dav.files)
    check = checked(function, dav.storage.endpoint("data"), write=True)
    assert check["passed"], check
    assert check["server"]["third_party_copy"] == ways
    assert check["server"]["checksums"] == ["adler32"]
    assert dav.files == before


def test_real_grid_storage_is_listed_and_checked(third_party: Function, grid: Grid) -> None:
    folder = uuid.uuid4().hex
    grid.source.storage().fill(folder, {"a": b"1", "b/c": b"22"})
    endpoint = grid.source.storage(None).endpoint(folder)
    answer = ask(third_party, "list", endpoint)
    assert answer.status_code == 200, answer.text
    assert [(it["name"], it["type"]) for it in answer.json()["entries"]] == [
        ("b", "folder"),
        ("a", "file"),
    ]
    check = checked(third_party, endpoint, write=True)
    assert check["passed"], check
    assert check["server"]["third_party_copy"] == ["pull", "push"]
    assert "adler32" in check["server"]["checksums"]
    assert sorted(grid.source.storage().hashes(folder)) == ["a", "b/c"]


def test_engine_that_the_site_has_not_switched_on_looks_at_nothing(
    tmp_path_factory: pytest.TempPathFactory, dav: Faulty
) -> None:
    endpoint = dav.storage.endpoint("data")
    with service_process.function(tmp_path_factory.mktemp("runtime")) as plain:
        for path in ("list", "check"):
            answer = ask(plain, path, endpoint)
            assert answer.status_code == 403, answer.text
            pointers = [it["pointer"] for it in answer.json()["errors"]]
            assert pointers[0] == "/engine"
        ends = {"source": endpoint, "destination": dav.storage.endpoint("to")}
        for path in ("", "plan"):
            request = {"engine": "tpc", **ends}
            answer = requests.post(f"{plain.url}/{path}", json=request, timeout=60)
            assert answer.status_code == 403, answer.text
            assert answer.json()["errors"][0]["pointer"] == "/engine"
    assert dav.seen() == []
