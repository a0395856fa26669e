"""Who may call, and what a site lets them do: through the HTTP door, with real copies."""

from __future__ import annotations

import hashlib
import http.server
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from support import http_servers, service_process
from support.contract import complaints
from support.service_process import LOOPBACK, Function
from support.storages import Storage

MIB = 1 << 20
ALICE, BOB, CAROL, DAVE, OLD = (
    f"{name}-{name[0] * 32}" for name in ("alice", "bob", "carol", "dave", "old")
)


def entry(caller: str, token: str, **more: str) -> dict[str, str]:
    return {"caller": caller, "sha256": hashlib.sha256(token.encode()).hexdigest(), **more}


@pytest.fixture(scope="module")
def slow() -> Iterator[Storage]:
    """A source that takes a minute for each of its two files."""
    with http_servers.slow_source(60 * MIB, MIB, files=2) as running:
        yield running


@pytest.fixture(scope="module")
def inside() -> Iterator[socket.socket]:
    """A port of this machine's that nobody may connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.fixture(scope="module")
def moved(inside: socket.socket) -> Iterator[str]:
    """A storage that sends whoever asks to that port."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        # Unread, it would be taken for the connection's next request.
        handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        handler.send_response(307)
        handler.send_header("Location", f"http://127.0.0.1:{inside.getsockname()[1]}/")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with http_servers.misbehaving(answer) as url:
        yield url


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory,
    storages: dict[str, Storage],
    slow: Storage,
    moved: str,
) -> Iterator[Function]:
    """A site with tokens, named storages and limits."""
    s3, webdav = storages["s3"].parameters, storages["wsgidav"].parameters
    folder = tmp_path_factory.mktemp("guarded")
    secret = folder / "secret"
    secret.write_text(s3["secret_access_key"] + "\n")
    site = {
        # Only the site's own storages are reached: nothing else on this machine.
        "storages": {
            "archive": {
                "type": "s3",
                "parameters": {
                    **s3,
                    "access_key_id": {"env": "ARCHIVE_KEY_ID"},
                    "secret_access_key": {"file": str(secret)},
                },
                "root": "bucket/incoming",
            },
            "cloud": {
                "type": "webdav",
                "parameters": {"url": webdav["url"]},
                "caller_parameters": ["user", "pass"],
                "use": ["source"],
            },
            "slow": {"type": "webdav", "parameters": slow.parameters, "use": ["source"]},
            "moved": {"type": "webdav", "parameters": {"url": moved}},
            "broken": {
                "type": "s3",
                "parameters": {
                    **s3,
                    "access_key_id": {"env": "ARCHIVE_KEY_ID"},
                    "secret_access_key": {"aws_ssm_parameter": "nope"},
                },
            },
        },
        "authentication": {
            "mode": "tokens",
            "tokens": [
                entry("alice", ALICE),
                entry("bob", BOB),
                entry("alice", OLD, expires="2020-01-01T00:00:00Z"),
                entry("carol", CAROL),
                entry("dave", DAVE),
            ],
        },
        "callers": {
            "alice": {"limits": {"files": 3, "bytes": 1000}},
            "bob": {"storages": ["cloud"], "types": []},
            "carol": {"limits": {"duration_seconds": 1}},
            "dave": {"limits": {"concurrent_transfers": 1}},
        },
    }
    runtime = folder / "run"
    runtime.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARCHIVE_KEY_ID", s3["access_key_id"])
        with service_process.function(runtime, site=site) as running:
            yield running


@pytest.fixture
def door(guarded: Function) -> Iterator[Function]:
    yield guarded
    guarded.wait_clean()


def ask(
    function: Function, token: str | None, source: Any, destination: Any, **members: Any
) -> Any:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    body = {"source": source, "destination": destination, **members}
    return function.post(body, headers=headers)


def cloud(webdav: Storage, path: str, **more: Any) -> dict[str, Any]:
    given = {name: webdav.parameters[name] for name in ("user", "pass")}
    path = webdav.endpoint(path)["path"]
    return {"storage": "cloud", "parameters": {**given, **more}, "path": path}


def archive(path: str) -> dict[str, Any]:
    return {"storage": "archive", "path": path}


def refused(answer: Any, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    problem: dict[str, Any] = answer.json()
    assert complaints("problem", problem) == []
    assert problem["code"] == code
    assert "Traceback" not in answer.text
    return problem


def test_a_caller_copies_between_the_sites_storages(
    door: Function, storages: dict[str, Storage]
) -> None:
    webdav, s3 = storages["wsgidav"], storages["s3"]
    hashes = webdav.fill("of-alice", {"a.txt": b"a", "b/c.txt": b"c"})
    answer = ask(door, ALICE, cloud(webdav, "of-alice"), archive("of-alice"))
    assert answer.status_code == 200, answer.text
    assert s3.hashes("bucket/incoming/of-alice") == hashes
    log = door.log.read_text()
    assert "by 'alice'" in log
    assert "'cloud' (webdav) to 'archive' (s3)" in log
    for secret in (ALICE, s3.parameters["secret_access_key"], webdav.parameters["pass"]):
        assert secret not in log
        assert secret not in answer.text


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {ALICE[:-1]}",
        f"Bearer {ALICE}x",
        f"Bearer {ALICE.upper()}",
        f"Bearer {OLD}",
        f"Basic {ALICE}",
        ALICE,
        f"Bearer {ALICE} {ALICE}",
        "Bearer " + "x" * 20_000,
        f"Bearer {hashlib.sha256(ALICE.encode()).hexdigest()}",
    ],
)
def test_nobody_else_gets_in(door: Function, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = door.post(b"not even JSON", headers=headers)
    if len(header or "") > 8190:  # the server's own limit for a line of a header
        assert answer.status_code in (400, 401, 431)
        return
    problem = refused(answer, 401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert problem["detail"] in (
        "Send a bearer token in the Authorization header.",
        "This service does not accept the token.",
    )
    assert ALICE not in answer.text


def test_what_says_nothing_of_anybody_is_open(door: Function) -> None:
    for path in ("/", "/healthz", "/openapi.json", "/schema/site"):
        assert door.get(path).status_code == 200
    assert door.get("/healthz").json()["authentication"] == "tokens"


def test_a_storage_of_another_caller_is_like_one_that_is_not_there(
    door: Function, webdav: Storage
) -> None:
    texts = set()
    for name in ("archive", "no-such-storage"):
        end = {"storage": name, "path": "x"}
        problem = refused(ask(door, BOB, cloud(webdav, "x"), end), 403, "forbidden")
        (error,) = problem["errors"]
        assert error["pointer"] == "/destination/storage"
        texts.add(error["message"])
    assert len(texts) == 1


def test_a_caller_who_may_name_storages_only_describes_none(
    door: Function, webdav: Storage, s3: Storage
) -> None:
    answer = ask(door, BOB, cloud(webdav, "x"), s3.endpoint("x"))
    problem = refused(answer, 403, "forbidden")
    assert [error["pointer"] for error in problem["errors"]] == [
        "/destination/type",
        "/destination/parameters/endpoint",
    ]


def test_the_sites_secret_goes_nowhere_else(door: Function, webdav: Storage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        end = {**archive("x"), "parameters": {"endpoint": f"http://127.0.0.1:{port}"}}
        problem = refused(ask(door, ALICE, cloud(webdav, "x"), end), 403, "forbidden")
        assert problem["errors"][0]["pointer"] == "/destination/parameters/endpoint"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_storage_that_is_a_source_is_no_destination(door: Function, webdav: Storage) -> None:
    answer = ask(door, ALICE, archive("x"), cloud(webdav, "x"))
    problem = refused(answer, 403, "forbidden")
    assert problem["errors"][0]["pointer"] == "/destination/storage"


def test_nothing_but_the_sites_storages_is_reached_on_this_machine(
    door: Function, webdav: Storage
) -> None:
    problem = refused(ask(door, ALICE, webdav.endpoint("x"), archive("x")), 403, "forbidden")
    assert problem["errors"][0]["pointer"] == "/source/parameters/url"


def test_more_files_or_bytes_than_are_allowed_are_refused_before_any_moves(
    door: Function, storages: dict[str, Storage]
) -> None:
    webdav, s3 = storages["wsgidav"], storages["s3"]
    webdav.fill("many", {f"{n}.txt": b"x" for n in range(4)})
    webdav.fill("large", {"large.bin": b"x" * 1001, "small.txt": b"x"})
    for path, what in (("many", "4 files"), ("large", "1002 bytes"), ("large/large.bin", "1001")):
        problem = refused(
            ask(door, ALICE, cloud(webdav, path), archive("limited/")), 403, "forbidden"
        )
        assert what in problem["detail"]
        assert problem["result"]["state"] == "failed"
        assert problem["result"]["errors"][0]["side"] == "source"
    assert s3.hashes("bucket/incoming/limited") == {}
    allowed = ask(door, ALICE, cloud(webdav, "large/small.txt"), archive("allowed/"))
    assert allowed.status_code == 200, allowed.text


def test_a_caller_has_as_many_transfers_at_a_time_as_are_allowed(door: Function) -> None:
    slow, target = {"storage": "slow", "path": "data"}, {"storage": "archive", "path": "slow"}
    with door.post(
        {"source": slow, "destination": target},
        headers={"Authorization": f"Bearer {DAVE}", "Accept": "application/x-ndjson"},
        stream=True,
    ) as first:
        assert b"started" in next(first.iter_lines())
        refused(ask(door, DAVE, slow, target), 503, "busy")
        # Another caller's places are not taken by that.
        assert ask(door, ALICE, slow, target).status_code == 403
    door.wait_clean()


def test_the_callers_own_time_is_kept(door: Function) -> None:
    slow, target = {"storage": "slow", "path": "data"}, {"storage": "archive", "path": "late"}
    problem = refused(ask(door, CAROL, slow, target), 504, "incomplete")
    assert problem["retryable"] is True


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_storage_that_sends_us_elsewhere_is_not_followed(
    door: Function, webdav: Storage, inside: socket.socket, side: str
) -> None:
    webdav.fill("stays", {"a": b"a"})
    moved = {"storage": "moved", "path": "x"}
    ends = (moved, archive("x")) if side == "source" else (cloud(webdav, "stays"), moved)
    problem = refused(ask(door, ALICE, *ends), 403, "forbidden")
    assert problem["result"]["errors"][0]["side"] == side
    assert "not allowed by ruleset" in problem["detail"]
    with pytest.raises(BlockingIOError):
        inside.accept()
    assert f"refused a connection to 127.0.0.1:{inside.getsockname()[1]}" in door.log.read_text()


def test_a_secret_that_cannot_be_had_is_the_sites_fault(door: Function, webdav: Storage) -> None:
    end = {"storage": "broken", "path": "bucket/x"}
    problem = refused(ask(door, ALICE, cloud(webdav, "x"), end), 500, "internal")
    assert "server log has the details" in problem["detail"]
    assert "nope" not in json.dumps(problem)
    assert "aws_ssm_parameter 'nope'" in door.log.read_text()


def test_without_authentication_a_page_of_another_host_is_refused(function: Function) -> None:
    for origin in ("http://evil.example.com:8080", "null", "http://127.0.0.1.evil.example.com"):
        answer = function.post(b"{}", headers={"Origin": origin})
        problem = refused(answer, 403, "forbidden")
        assert problem["errors"][0]["pointer"] == ""
    for origin in (function.url, "http://localhost:8080", "http://[::1]:8080"):
        answer = function.post(b"{}", headers={"Origin": origin})
        refused(answer, 400, "invalid_request")


def test_without_authentication_that_is_said_at_start(function: Function) -> None:
    assert "only local callers are accepted" in function.log.read_text()
    assert function.get("/healthz").json()["authentication"] == "none"


@pytest.mark.parametrize(
    ("site", "pointer"),
    [
        ({"callers": {}}, "/callers"),
        ({"allow": {"networks": ["10.0.0.1/8"]}}, "/allow/networks/0"),
        ({"storages": {"a": {"type": "local", "parameters": {}}}}, "/storages/a/type"),
        (
            {"storages": {"a": {"type": "s3", "parameters": {"secret_access_key": "x"}}}},
            "/storages/a/parameters/secret_access_key",
        ),
        ({**LOOPBACK, "typo": 1}, "/typo"),
    ],
)
def test_a_mistake_in_the_site_file_stops_the_start(
    tmp_path: Path, site: Any, pointer: str
) -> None:
    (tmp_path / "run").mkdir()
    with (
        pytest.raises(requests.ConnectionError),  # its first GET meets a dead service
        service_process.function(tmp_path / "run", site=site),
    ):
        pass
    log = (tmp_path / "run.log").read_text()
    assert pointer in log
    assert "Traceback" not in log.partition("efss-transfer: ")[2].partition("\n[")[0]


def test_a_site_with_a_proxy_has_all_go_through_it(
    tmp_path: Path, storages: dict[str, Storage]
) -> None:
    """Hosts that do not exist are reached, because the proxy is a server that answers for all."""
    webdav = storages["rclone"]
    hashes = webdav.fill("by-proxy", {"a.txt": b"a", "b/c.bin": bytes(100_000)})
    (tmp_path / "run").mkdir()
    port = webdav.parameters["url"].rpartition(":")[2].strip("/")
    site = {"egress_proxy": f"http://127.0.0.1:{port}"}
    ends = []
    for host, path in (("one.invalid", "by-proxy"), ("other.invalid", "arrived-by-proxy")):
        end = webdav.endpoint(path)
        ends.append({**end, "parameters": {**end["parameters"], "url": f"http://{host}"}})
    with service_process.function(tmp_path / "run", site=site) as running:
        answer = running.copy(*ends)
        assert answer.status_code == 200, answer.text
        assert webdav.hashes(ends[1]["path"]) == hashes
        # What is written as an address is still looked at here.
        inside = {**ends[0], "parameters": {**ends[0]["parameters"], "url": "http://127.0.0.1:1"}}
        refused(running.copy(inside, ends[1]), 403, "forbidden")
        running.wait_clean()
