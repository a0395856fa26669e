"""Third-party copies with storages that fail, lie or hang: a true outcome, and nothing left."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from support import faulty_webdav, service_process, third_party_dav
from support.faulty_webdav import Faulty, Request
from support.service_process import Function
from support.storages import digest
from support.third_party_dav import SUCCESS, failure, marker

FILES = {"a": b"1", "sub/b": bytes(5000), "sub/deep/c": b"333"}
HASHES = {path: digest(content) for path, content in FILES.items()}
SITE = {
    "engines": {"tpc": {}},
    "allow": {"hosts": ["127.0.0.1"], "networks": ["127.0.0.0/8"]},
}
Copier = Callable[[Request], Iterator[bytes]]


@pytest.fixture(scope="module")
def function(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    runtime = tmp_path_factory.mktemp("runtime")
    with service_process.function(runtime, site=SITE) as running:
        yield running
        running.wait_clean()


@pytest.fixture
def source() -> Iterator[Faulty]:
    with faulty_webdav.serving() as dav:
        dav.digest_of = third_party_dav.adler32
        dav.fill("data", FILES)
        yield dav


@pytest.fixture
def destination() -> Iterator[Faulty]:
    with faulty_webdav.serving() as dav:
        dav.digest_of = third_party_dav.adler32
        dav.copier = third_party_dav.pulls(dav)
        yield dav


def copy(function: Function, source: Faulty, destination: Faulty, **options: Any) -> Any:
    ends = source.endpoint("data"), destination.endpoint("to")
    return function.copy(*ends, engine="tpc", options={"report": "all", **options})


def errors(answer: requests.Response) -> list[tuple[str, str | None, int]]:
    body = answer.json()
    found = body.get("result", body)["errors"]
    return [(it["code"], it.get("side"), it["count"]) for it in found]


def answering(destination: Faulty, path: str, answer: Copier) -> Copier:
    """The destination, which answers the copies of one source file otherwise."""
    pulls = third_party_dav.pulls(destination)

    def copy(request: Request) -> Iterator[bytes]:
        is_it = request.headers["source"].endswith(path)
        return answer(request) if is_it else pulls(request)

    return copy


def test_source_pushes_where_the_destination_does_not_pull(
    function: Function, source: Faulty, destination: Faulty
) -> None:
    destination.copier = None
    source.copier = third_party_dav.pushes(source)
    answer = copy(function, source, destination)
    assert answer.status_code == 200, answer.text
    assert answer.json()["tpc"]["way"] == "push"
    assert destination.hashes("to") == HASHES


def test_storages_without_third_party_copies_are_refused(
    function: Function, source: Faulty, destination: Faulty
) -> None:
    destination.copier = None
    answer = copy(function, source, destination)
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "unsupported"
    assert "engine `rclone`" in answer.json()["detail"]
    assert destination.hashes("") == {}


@pytest.mark.parametrize(
    ("said", "code", "side"),
    [
        ([failure("rejected GET: 404 Not Found")], "source_not_found", "source"),
        ([failure("rejected GET: 403 Forbidden")], "permission_denied", "source"),
        ([failure("No space left on device")], "quota_exceeded", "destination"),
        ([failure("checksum verification failed")], "checksum_mismatch", "destination"),
        ([failure("Connection refused")], "storage_unreachable", "source"),
        ([failure("it did not work")], "storage_error", "destination"),
        ([marker(1)], "storage_error", "destination"),
        ([b""], "storage_error", "destination"),
        ([SUCCESS], "storage_error", "destination"),
        ([marker(1), SUCCESS, failure("after all")], "storage_error", "destination"),
    ],
)
def test_copy_that_fails_is_no_success(
    said: list[bytes],
    code: str,
    side: str,
    function: Function,
    source: Faulty,
    destination: Faulty,
) -> None:
    """Each is answered by 202. The success that stores nothing is found as well."""
    destination.copier = answering(destination, "/sub/b", lambda _: iter(filter(None, said)))
    answer = copy(function, source, destination, attempts=1)
    assert answer.status_code in (422, 502, 507), answer.text
    assert errors(answer) == [(code, side, 1)]
    expected = {path: value for path, value in HASHES.items() if path != "sub/b"}
    assert destination.hashes("to") == expected


@pytest.mark.parametrize(
    ("stored", "code"),
    [(FILES["sub/b"][:-1], "checksum_mismatch"), (b"x" * 5000, "checksum_mismatch")],
    ids=["cut off", "other bytes"],
)
def test_what_arrives_is_compared_with_the_source(
    stored: bytes, code: str, function: Function, source: Faulty, destination: Faulty
) -> None:
    """The old file stays, and the next attempt copies the file again."""

    def lie(request: Request) -> Iterator[bytes]:
        destination.store(request.path, stored)
        yield marker(5000)
        yield SUCCESS

    destination.copier = answering(destination, "/sub/b", lie)
    destination.fill("to", {"sub/b": b"old"})
    answer = copy(function, source, destination, attempts=1)
    assert errors(answer) == [(code, "destination", 1)], answer.text
    assert destination.hashes("to") == HASHES | {"sub/b": digest(b"old")}
    destination.copier = third_party_dav.pulls(destination)
    assert copy(function, source, destination).status_code == 200
    assert destination.hashes("to") == HASHES


def test_failure_that_passes_costs_an_attempt(
    function: Function, source: Faulty, destination: Faulty
) -> None:
    pulls = third_party_dav.pulls(destination)
    failed: list[str] = []

    def fail_once(request: Request) -> Iterator[bytes]:
        if failed:
            return pulls(request)
        failed.append(request.path)
        return iter([marker(0), failure("Connection reset by peer")])

    destination.copier = answering(destination, "/sub/b", fail_once)
    answer = copy(function, source, destination)
    assert answer.status_code == 200, answer.text
    assert answer.json()["attempts"] == 2
    assert destination.hashes("to") == HASHES


def test_storages_without_checksums_are_compared_by_size(
    function: Function, source: Faulty, destination: Faulty
) -> None:
    source.digest_of = lambda _, __: ""
    answer = copy(function, source, destination)
    assert answer.status_code == 200, answer.text
    (warning,) = answer.json()["warnings"]
    assert (warning["code"], warning["count"]) == ("compared_by_size", len(FILES))
    refused = copy(
        function,
        source,
        destination,
        verify="checksum",
        require_checksum=True,
        overwrite="always",
    )
    assert errors(refused) == [("unsupported", None, len(FILES))], refused.text


def test_hanging_copy_ends_with_the_deadline_and_leaves_nothing(
    function: Function, source: Faulty, destination: Faulty
) -> None:
    def hang(request: Request) -> Iterator[bytes]:
        destination.store(request.path, b"half")
        while not destination.ended.wait(0.2):
            yield marker(4)

    destination.copier = answering(destination, "/sub/b", hang)
    began = time.monotonic()
    answer = copy(function, source, destination, deadline_seconds=6)
    assert time.monotonic() - began < 6 + 10
    assert answer.status_code == 504, answer.text
    until = time.monotonic() + 15
    while any(".partial" in path for path in destination.hashes("to")):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert "sub/b" not in destination.hashes("to")
    destination.copier = third_party_dav.pulls(destination)
    again = copy(function, source, destination)
    assert again.status_code == 200, again.text
    assert again.json()["totals"]["files"]["transferred"] >= 1
    assert destination.hashes("to") == HASHES


@pytest.mark.slow
def test_connection_that_breaks_in_the_middle_costs_an_attempt(
    function: Function, source: Faulty, destination: Faulty
) -> None:
    pulls, broken = third_party_dav.pulls(destination), threading.Event()

    def break_once(request: Request) -> Iterator[bytes]:
        if broken.is_set():
            yield from pulls(request)
            return
        broken.set()
        destination.store(request.path, b"half")
        yield marker(4)
        raise ConnectionResetError  # the end of the answer is missing

    destination.copier = answering(destination, "/sub/b", break_once)
    answer = copy(function, source, destination)
    assert answer.status_code == 200, answer.text
    assert answer.json()["attempts"] == 2
    assert destination.hashes("to") == HASHES


@pytest.mark.slow
@pytest.mark.parametrize("side", ["source", "destination"])
def test_checksum_that_is_not_answered_is_asked_for_again(
    side: str, function: Function, source: Faulty, destination: Faulty
) -> None:
    """XRootD lets a third request for a checksum wait for 30 seconds."""
    server = source if side == "source" else destination
    server.fail("HEAD", "*", faulty_webdav.stall(), times=1)
    answer = copy(function, source, destination)
    assert answer.status_code == 200, answer.text
    assert answer.json()["attempts"] == 1
    assert destination.hashes("to") == HASHES


@pytest.mark.slow
def test_missing_parents_of_the_destination_are_made(
    function: Function, source: Faulty, destination: Faulty
) -> None:
    ends = source.endpoint("data"), destination.endpoint("not/there/yet")
    answer = function.copy(*ends, engine="tpc")
    assert answer.status_code == 200, answer.text
    assert destination.hashes("not/there/yet") == HASHES


def test_caller_who_hangs_up_cancels(
    function: Function, source: Faulty, destination: Faulty
) -> None:
    begun: list[str] = []

    def hang(request: Request) -> Iterator[bytes]:
        begun.append(request.path)
        destination.store(request.path, b"half")
        while not destination.ended.wait(0.2):
            yield marker(4)

    destination.copier = hang
    ends = source.endpoint("data"), destination.endpoint("to")
    events = function.events({"source": ends[0], "destination": ends[1], "engine": "tpc"})
    for event in events:
        if event["event"] == "progress" and begun:
            break
    events.close()
    until = time.monotonic() + 15
    while destination.hashes("to"):
        assert time.monotonic() < until, destination.hashes("to")
        time.sleep(0.1)


def test_service_that_is_killed_leaves_no_file_under_its_name(
    source: Faulty, destination: Faulty, tmp_path_factory: pytest.TempPathFactory
) -> None:
    begun = threading.Event()

    def hang(request: Request) -> Iterator[bytes]:
        destination.store(request.path, b"half")
        begun.set()
        while not destination.ended.wait(0.2):
            yield marker(4)

    destination.copier = answering(destination, "/sub/b", hang)
    runtime = tmp_path_factory.mktemp("killed")
    with service_process.function(runtime, site=SITE) as running:
        ends = source.endpoint("data"), destination.endpoint("to")
        body = {"source": ends[0], "destination": ends[1], "engine": "tpc"}
        events = running.events(body)
        next(events)
        assert begun.wait(20)
        running.worker().kill()
        with pytest.raises(requests.RequestException):
            list(events)
        assert "sub/b" not in destination.hashes("to")
        destination.copier = third_party_dav.pulls(destination)
        answer = copy(running, source, destination)
        assert answer.status_code == 200, answer.text
        found = destination.hashes("to")
        assert {path: it for path, it in found.items() if ".partial" not in path} == HASHES


@pytest.mark.parametrize(
    ("side", "status"), [("source", 401), ("destination", 401), ("destination", 507)]
)
def test_refusals_of_either_side_are_told_apart(
    side: str, status: int, function: Function, source: Faulty, destination: Faulty
) -> None:
    server = source if side == "source" else destination
    method = {401: "PROPFIND", 507: "COPY"}[status]
    server.fail(method, "*", faulty_webdav.status(status))
    answer = copy(function, source, destination, attempts=1)
    code = {401: "authentication_failed", 507: "quota_exceeded"}[status]
    assert {(it[0], it[1]) for it in errors(answer)} == {(code, side)}, answer.text
    assert destination.hashes("to") == {}


def test_shards_of_listed_files_are_the_whole_and_share_nothing(
    function: Function, source: Faulty, destination: Faulty
) -> None:
    ends = source.endpoint("data"), destination.endpoint("to")
    seen = 0
    for index in range(2):
        selection = {"files": [{"path": path} for path in FILES]}
        shard = {"shard": {"index": index, "count": 2}}
        answer = function.copy(*ends, engine="tpc", selection=selection | shard)
        assert answer.status_code == 200, answer.text
        seen += sum(answer.json()["totals"]["files"].values())
    assert seen == len(FILES)
    assert destination.hashes("to") == HASHES


def test_macaroon_is_asked_for_and_used(
    function: Function, source: Faulty, destination: Faulty
) -> None:
    """The destination gets it in place of the caller's token, which stays here."""
    issued = faulty_webdav.status(200, b'{"macaroon": "canary-macaroon"}')
    source.fail("POST", "*", issued)
    ends = source.endpoint("data", bearer_token="canary-token"), destination.endpoint("to")
    answer = function.copy(*ends, engine="tpc")
    assert answer.status_code == 200, answer.text
    assert answer.json()["tpc"] == {"way": "pull", "macaroon": True}
    (asked,) = source.seen("POST")
    assert asked.headers["authorization"] == "Bearer canary-token"
    assert asked.path == "/data"  # a macaroon is for what is below the path
    wanted = json.loads(asked.posted)
    assert wanted["caveats"] == ["activity:DOWNLOAD"]
    assert 0 < int(wanted["validity"].removeprefix("PT").removesuffix("S")) <= 86_400
    copies = destination.seen("COPY")
    signed = {it.headers["transferheaderauthorization"] for it in copies}
    assert signed == {"Bearer canary-macaroon"}
    assert "canary-token" not in str([it.headers for it in copies])
    assert "canary" not in answer.text + function.log.read_text()


def test_host_that_is_not_allowed_by_name_is_refused(
    source: Faulty, destination: Faulty, tmp_path_factory: pytest.TempPathFactory
) -> None:
    runtime = tmp_path_factory.mktemp("strict")
    site = {"engines": {"tpc": {}}, "allow": {"networks": ["127.0.0.0/8"]}}
    with service_process.function(runtime, site=site) as strict:
        answer = copy(strict, source, destination)
        assert answer.status_code == 403, answer.text
        refused = {it["pointer"] for it in answer.json()["errors"]}
        assert refused == {"/source/parameters/url", "/destination/parameters/url"}
        assert not source.requests
        assert not destination.requests


def test_engine_that_the_site_has_not_switched_on_is_refused(
    source: Faulty, destination: Faulty, shared_function: Function
) -> None:
    answer = copy(shared_function, source, destination)
    assert answer.status_code == 403, answer.text
    assert "/engine" in {it["pointer"] for it in answer.json()["errors"]}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"bandwidth_limit": 100_000}, "options.bandwidth_limit"),
        ({"metadata": True}, "options.metadata"),
        ({"verify": "download"}, "options.verify"),
    ],
)
def test_options_that_it_cannot_honour_are_refused_by_name(
    options: dict[str, Any], named: str, function: Function, source: Faulty, destination: Faulty
) -> None:
    answer = copy(function, source, destination, **options)
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "unsupported"
    assert named in answer.json()["detail"]
    assert not destination.seen("COPY")
