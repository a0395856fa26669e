"""`deploy/nginx.conf`, run by Debian's nginx in front of the function, over TLS."""

from __future__ import annotations

import http.server
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from support import http_servers, service_process
from support.contract import complaints
from support.nginx import Answer, Gateway, gateway, head_of, read, request, until
from support.nginx_cases import (
    AS_PORTAL,
    NO_HURRY,
    SITE,
    TOKEN,
    TRACE,
    assert_guarded,
    assert_problem,
)
from support.service_process import Function
from support.storages import Storage

SMUGGLED = (
    b"POST / HTTP/1.1\r\nHost: transfer.example.org\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
)


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    folder = tmp_path_factory.mktemp("b")
    (folder / "run").mkdir()
    with service_process.function(folder / "run", unix=folder / "http", site=SITE) as running:
        yield running


@pytest.fixture(scope="module")
def shared(behind: Function, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("g") / "n"
    with gateway(folder, behind.runtime_dir.parent / "http", NO_HURRY) as running:
        yield running


@pytest.fixture
def front(shared: Gateway, behind: Function) -> Iterator[Gateway]:
    """The gateway; whatever a test did, nothing of it may be left in the function."""
    yield shared
    behind.wait_clean()
    # nginx would put a body there that it holds back, and it has passwords in it.
    assert not [*(shared.folder / "bodies").rglob("?*/*/*")]


def test_a_copy_goes_through_it(front: Gateway, webdav: Storage, s3: Storage) -> None:
    files = webdav.fill("gateway", {f"{n}.bin": bytes([n]) * 5000 for n in range(5)})
    body = json.dumps({"source": webdav.endpoint("gateway"), "destination": s3.endpoint("gate")})
    answer = front.ask("POST", "/", body.encode(), AS_PORTAL)
    assert answer.status == 200, answer.body
    assert complaints("result", answer.json()) == []
    assert answer.json()["totals"]["files"]["transferred"] == 5
    assert s3.hashes("bucket/gate") == files
    assert_guarded(answer)


def test_chunks_and_expect_are_understood(front: Gateway, webdav: Storage, s3: Storage) -> None:
    webdav.fill("chunks", {"a.txt": b"a"})
    body = json.dumps({"source": webdav.endpoint("chunks"), "destination": s3.endpoint("chunks")})
    with front.connect() as connection:
        headers = {**AS_PORTAL, "Transfer-Encoding": "chunked", "Expect": "100-continue"}
        kind = {"Content-Type": "application/json"}
        connection.sendall(request("POST", "/", b"", headers | kind))
        status, _, rest = head_of(connection)
        assert (status, rest) == (100, b"")
        for piece in (body[:7], body[7:], ""):
            connection.sendall(f"{len(piece):x}\r\n{piece}\r\n".encode())
        answer = read(connection)
    assert answer.status == 200, answer.body


@pytest.mark.parametrize(
    "accept",
    ["application/x-ndjson", pytest.param("text/event-stream", marks=pytest.mark.slow)],
)
def test_events_arrive_as_they_happen_and_who_hangs_up_cancels(
    front: Gateway, behind: Function, s3: Storage, accept: str
) -> None:
    before = cancelled(front)
    with http_servers.slow_source(50 << 20, 100_000) as source, front.connect() as connection:
        body = json.dumps({"source": source.endpoint("data"), "destination": s3.endpoint("slow")})
        headers = {**AS_PORTAL, "Accept": accept}
        connection.sendall(request("POST", "/", body.encode(), headers))
        status, told, received = head_of(connection)
        assert status == 200
        assert told["content-type"].startswith(accept)
        # The copy takes minutes, and a stream that was held back would have come by then.
        while received.count(b'"progress"') < 2:
            received += connection.recv(65536)
        assert b'"result"' not in received
        assert "efss_transfer_running_transfers 1.0" in front.numbers()
        connection.close()
        behind.wait_clean(15)
    assert cancelled(front) == before + 1


def test_so_does_who_hangs_up_while_waiting_for_json(
    front: Gateway, behind: Function, s3: Storage
) -> None:
    before = cancelled(front)
    with http_servers.slow_source(50 << 20, 100_000) as source, front.connect() as connection:
        body = json.dumps({"source": source.endpoint("data"), "destination": s3.endpoint("slow")})
        connection.sendall(request("POST", "/", body.encode(), AS_PORTAL))
        until(lambda: any("rclone" in one.name() for one in children(behind)))
        connection.close()
        behind.wait_clean(15)
    until(lambda: cancelled(front) == before + 1)


def children(function: Function) -> list[psutil.Process]:
    found = []
    for child in function.family():
        try:
            child.name()
        except psutil.NoSuchProcess:
            continue
        found.append(child)
    return found


def cancelled(front: Gateway) -> float:
    for line in front.numbers().splitlines():
        if line.startswith("efss_transfer_transfers_total") and "cancelled" in line:
            return float(line.rpartition(" ")[2])
    return 0


def test_who_may_not_call_learns_it_before_the_body_is_sent(front: Gateway) -> None:
    headers = {"Authorization": "Bearer nobody", "Content-Length": "1000"}
    answer = front.ask("POST", "/", b"{", headers)
    assert_problem(answer, "unauthenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.slow
def test_without_a_token_nobody_is_served_as_if_on_this_machine(
    tmp_path: Path, front: Gateway
) -> None:
    (tmp_path / "run").mkdir()
    unix = tmp_path / "http"
    # A site that asks nobody serves this machine alone, and nginx is on this machine.
    with (
        service_process.function(tmp_path / "run", unix=unix),
        gateway(tmp_path / "n", unix) as open_door,
    ):
        answer = open_door.ask("POST", "/", b"{}")
    assert_problem(answer, "forbidden")


@pytest.mark.parametrize("how", ["length", "chunks", "expect"])
def test_an_oversized_body_is_refused(front: Gateway, how: str) -> None:
    body = b" " * (3 << 19)
    if how == "chunks":
        kind = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
        pieces = b"".join(b"10000\r\n" + bytes(0x10000) + b"\r\n" for _ in range(24))
        answer = front.send(request("POST", "/", pieces + b"0\r\n\r\n", AS_PORTAL | kind))
    elif how == "expect":
        headers = {**AS_PORTAL, "Expect": "100-continue", "Content-Length": str(len(body))}
        answer = front.ask("POST", "/", b"", headers)
    else:
        answer = front.ask("POST", "/", body, AS_PORTAL)
    assert_problem(answer, "body_too_large")


def statuses(front: Gateway, count: int, headers: Mapping[str, str]) -> list[Answer]:
    return [front.ask("GET", "/schema/event", headers=headers) for _ in range(count)]


def test_a_burst_is_refused_and_another_caller_is_served(tmp_path: Path, behind: Function) -> None:
    # One request a minute makes the burst of the file all that there is, on any machine.
    slow = {"rate=5r/s": "rate=1r/m", "rate=50r/s": "rate=1r/m"}
    with gateway(tmp_path / "n", behind.runtime_dir.parent / "http", slow) as front:
        answers = statuses(front, 25, AS_PORTAL)
        assert [answer.status for answer in answers] == [200] * 21 + [503] * 4
        for answer in answers[21:]:
            assert_problem(answer, "busy")
        other = front.ask("GET", "/schema/event", headers={"Authorization": "Bearer other"})
        assert other.status == 200
        # Who makes up a token for each request is one address all the same.
        many = [
            front.ask("GET", "/schema/event", headers={"Authorization": f"Bearer {n}"}).status
            for n in range(85)
        ]
        assert (many[0], many[-1]) == (200, 503)
        assert front.logged(answers[-1])["status"] == 503
        assert TOKEN not in "".join(one.read_text() for one in front.folder.glob("*.log"))


def test_one_caller_cannot_have_all_connections(tmp_path: Path, behind: Function) -> None:
    few = {**NO_HURRY, "limit_conn efss_open 16": "limit_conn efss_open 1"}
    with (
        gateway(tmp_path / "n", behind.runtime_dir.parent / "http", few) as front,
        front.connect() as held,
    ):
        # It has the right token, and its body does not come.
        headers = {**AS_PORTAL, "Content-Length": "1000", "Expect": "100-continue"}
        held.sendall(request("POST", "/", b"", headers))
        assert head_of(held)[0] == 100
        assert_problem(front.ask("GET", "/", headers=AS_PORTAL), "busy")
        assert front.ask("GET", "/", headers={"Authorization": "Bearer x"}).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/metrics/",
        "//metrics",
        "/./metrics",
        "/%6detrics",
        "/%2e/metrics",
        "/schema/../metrics",
        "/schema/%2e%2e/metrics",
        "/schema/..%2fmetrics",
        "/metrics?x=1",
        "/healthz/../metrics",
        "/;/metrics",
        "/METRICS",
        "/healthz/x",
        "/schema/nothing",
        "/schema/request/x",
        "/nothing.json",
        "/_efss_transfer_auth",
        "http://transfer.example.org/metrics",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_paths_are_not_there(front: Gateway, method: str, path: str) -> None:
    answer = front.ask(method, path, headers=AS_PORTAL)
    assert_problem(answer, "not_found")
    assert front.logged(answer)["upstream_status"] == ""


@pytest.mark.parametrize(
    "headers",
    [
        {"PATH_INFO": "/metrics"},
        {"SCRIPT_NAME": "/"},
        {"X-Original-URL": "/metrics", "X-Rewrite-URL": "/metrics"},
        {"X-Forwarded-Prefix": "/metrics", "X-Http-Method-Override": "POST"},
    ],
)
def test_no_header_leads_elsewhere(front: Gateway, headers: dict[str, str]) -> None:
    answer = front.ask("GET", "/healthz", headers=headers)
    assert answer.status == 200
    assert answer.json()["status"] == "ok"


def test_what_is_public_is_there(front: Gateway) -> None:
    listed = front.ask("GET", "/").json()["links"]
    paths = ["/", listed["health"], listed["openapi"], *listed["schemas"].values()]
    for path in paths:
        answer = front.ask("GET", path)
        assert answer.status == 200, path
        assert answer.json()
        assert_guarded(answer)
        assert front.ask("HEAD", path).body == b""


def test_the_numbers_are_for_this_machine_alone(front: Gateway) -> None:
    assert "efss_transfer_running_transfers" in front.numbers()
    for path in ("/", "/healthz"):
        with socket.create_connection(("127.0.0.1", front.metrics_port)) as connection:
            connection.sendall(request("GET", path, b"", {}))
            assert read(connection).status == 404


def test_methods_are_refused_by_the_function_or_before_it(front: Gateway) -> None:
    for method in ("DELETE", "PUT", "OPTIONS"):
        answer = front.ask(method, "/", headers=AS_PORTAL)
        assert_problem(answer, "method_not_allowed")
        assert answer.headers["allow"] == "GET, HEAD, POST"
    traced = front.ask("TRACE", "/", headers=AS_PORTAL)
    assert_problem(traced, "method_not_allowed")
    assert traced.headers["allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize(
    "raw",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/3.1\r\nHost: transfer.example.org\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: transfer.example.org\r\nX: " + b"x" * 17_000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: transfer.example.org\r\nTransfer-Encoding: gzip\r\n\r\n",
        SMUGGLED,
        b"POST / HTTP/1.1\r\nHost: transfer.example.org\r\nContent-Length: -3\r\n\r\n",
    ],
    ids=["word", "version", "long", "encoding", "smuggled", "negative"],
)
def test_what_is_not_http_is_told_so(front: Gateway, raw: bytes) -> None:
    assert_problem(front.send(raw), "invalid_request")


def test_a_path_that_is_too_long_is_not_there(front: Gateway) -> None:
    assert_problem(front.ask("GET", "/" + "x" * 17_000), "not_found")


def test_it_is_tls_1_3_for_its_own_name(front: Gateway) -> None:
    with front.connect() as connection:
        assert connection.version() == "TLSv1.3"
    old = ssl.create_default_context(cafile=str(front.authority))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        front.connect(trust=old)
    blind = ssl.create_default_context()
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE
    with pytest.raises(ssl.SSLError):
        front.connect("other.example.org", trust=blind)
    with socket.create_connection(("127.0.0.1", front.port)) as plain:
        plain.sendall(request("POST", "/", b"{}", AS_PORTAL))
        assert_problem(read(plain), "invalid_request")
    # One who shook hands for our name and asks for another gets no answer.
    with front.connect() as connection:
        connection.sendall(request("GET", "/", b"", {"Host": "other.example.org"}))
        assert connection.recv(1) == b""


def test_a_request_is_found_in_both_logs(front: Gateway, behind: Function) -> None:
    answer = front.ask("POST", "/", b"{", AS_PORTAL)
    assert_problem(answer, "invalid_json")
    number = answer.headers["x-request-id"]
    lines = [json.loads(line) for line in behind.log.read_text().splitlines()]
    [mine] = [line for line in lines if line.get("trace_id") == number]
    assert mine["code"] == "invalid_json"
    seen = front.logged(answer)
    assert (seen["status"], seen["path"]) == (400, "/")
    own = f"00-{TRACE}-00f067aa0ba902b7-01"
    front.ask("POST", "/", b"{", {**AS_PORTAL, "traceparent": own})
    last = json.loads(behind.log.read_text().splitlines()[-1])
    assert (last["trace_id"], last["span_id"]) == (TRACE, "00f067aa0ba902b7")


def test_a_service_of_the_sites_own_can_be_asked_first(behind: Function, tmp_path: Path) -> None:
    asked: list[tuple[str, str | None, str | None]] = []

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        given = handler.headers["Authorization"]
        length = handler.headers["Content-Length"]
        asked.append((handler.path, given, length))
        status = {"Bearer alice": 202, "Bearer mallory": 403, "Bearer broken": 418}.get(given, 401)
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        if status == 202:
            handler.send_header("Authorization", f"Bearer {TOKEN}")
        if status == 401:
            handler.send_header("WWW-Authenticate", 'Bearer realm="site"')
        handler.end_headers()

    with http_servers.misbehaving(answer) as url:
        changes = {"#auth# ": "", "http://127.0.0.1:4180": url, **NO_HURRY}
        with gateway(tmp_path / "n", behind.runtime_dir.parent / "http", changes) as front:

            def post(token: str) -> Answer:
                return front.ask("POST", "/", b"{", {"Authorization": f"Bearer {token}"})

            # The service knows alice, and the function the token that the service gave for her.
            assert_problem(post("alice"), "invalid_json")
            # The function's own token is none here, if the service says so.
            refused = post(TOKEN)
            assert_problem(refused, "unauthenticated")
            assert refused.headers["www-authenticate"] == 'Bearer realm="site"'
            assert_problem(post("mallory"), "forbidden")
            assert_problem(post("broken"), "internal")
            assert_problem(front.ask("GET", "/_efss_transfer_auth"), "not_found")
            assert front.ask("GET", "/healthz").status == 200
    assert asked[0] == ("/oauth2/auth", "Bearer alice", None)
    assert len(asked) == 4


@pytest.mark.slow
def test_if_that_service_is_away_nobody_is_let_in(behind: Function, tmp_path: Path) -> None:
    gone = {"#auth# ": "", "http://127.0.0.1:4180": f"http://unix:{tmp_path}/nobody:", **NO_HURRY}
    with gateway(tmp_path / "n", behind.runtime_dir.parent / "http", gone) as front:
        assert_problem(front.ask("POST", "/", b"{}", AS_PORTAL), "internal")
