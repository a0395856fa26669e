"""The other FaaS runtimes: a real copy, a problem, a deadline and a caller's token by each."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import yaml

from support import http_servers, runtimes, service_process
from support.contract import complaints
from support.runtimes import Worker
from support.service_process import LOOPBACK, Function
from support.storages import ROOT, Storage

MIB = 1 << 20
TOKEN = "canary-token-of-alice"
ASKING = {
    **LOOPBACK,
    "authentication": {
        "mode": "tokens",
        "tokens": [{"caller": "alice", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}],
    },
}
HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
WATCHDOG = yaml.safe_load((ROOT / "deploy/openfaas/stack.yaml").read_text("utf-8"))["functions"][
    "efss-transfer"
]["environment"]


def watchdog(**changes: str) -> dict[str, str]:
    """of-watchdog's variables, as stack.yaml has them; ours are the test's."""
    theirs = {name: value for name, value in WATCHDOG.items() if not name.startswith("EFSS")}
    return {**theirs, **changes}


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rt")


def ask(it: Worker | Function, body: Any, headers: dict[str, str] = HEADERS) -> tuple[int, Any]:
    """POST a request by whatever way the runtime has; status and document."""
    if isinstance(it, Function):
        said = it.post(body, headers=headers)
        return said.status_code, said.json()
    answer = it.http("POST", "/", headers, json.dumps(body).encode())
    return answer.status, answer.json()


def web(it: Worker, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Any:
    """An OpenWhisk web action, called raw: what its controller hands over (docs/webactions.md:
    JSON is base64) and makes of the result."""
    kind = headers.get("Content-Type", "")
    text = base64.b64encode(body).decode() if "json" in kind else body.decode()
    value = {
        "__ow_method": method.lower(),
        "__ow_headers": {name.lower(): value for name, value in headers.items()},
        "__ow_path": path,
        "__ow_query": "",
        "__ow_body": text,
    }
    deadline = int((time.time() + 60) * 1000)
    return it.say({"value": value, "deadline": deadline, "activation_id": "a", "namespace": "n"})


def wait_until(so: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not so():
        assert time.monotonic() < until
        time.sleep(0.05)


def copied(ask: Any, name: str, webdav: Storage, s3: Storage, runtime_dir: Path) -> None:
    """That a copy by `ask` brings every byte, and leaves nothing."""
    files = webdav.fill(name, {"a.txt": b"a", 'deep/ü "b".bin': bytes(2 * MIB)})
    body = {
        "source": webdav.endpoint(name),
        "destination": s3.endpoint(name),
        "options": {"report": "all"},
    }
    status, result = ask(body)
    assert status == 200, result
    assert complaints("result", result) == []
    assert result["state"] == "succeeded"
    assert {file["path"] for file in result["files"]} == set(files)
    assert s3.hashes(f"{s3.base}/{name}") == files
    service_process.wait_clean(runtime_dir, 10)


def refused(ask: Any, webdav: Storage, s3: Storage) -> None:
    """That a problem is told as one, and nobody is served without a token."""
    body = {"source": webdav.endpoint("not-there"), "destination": s3.endpoint("x")}
    status, told = ask(body)
    assert complaints("problem", told) == []
    assert (status, told["code"]) == (422, "source_not_found")
    status, told = ask(body, {"Content-Type": "application/json"})
    assert (status, told["code"]) == (401, "unauthenticated")
    status, told = ask({"source": 1})
    assert (status, told["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("kind", "variables"),
    [
        ("azure", {}),
        ("nuclio", {}),
        pytest.param(
            "nuclio",
            {"NUCLIO_PYTHON_DECODE_EVENT_STRINGS": "disabled"},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["azure", "nuclio", "nuclio-bytes"],
)
def test_a_worker_copies_and_refuses(
    kind: str, variables: dict[str, str], webdav: Storage, s3: Storage, folder: Path
) -> None:
    run = folder / "run"
    run.mkdir()
    with runtimes.worker(kind, run, ASKING, variables) as it:
        copied(lambda body: ask(it, body), f"rt-{kind}-{len(variables)}", webdav, s3, run)
        refused(lambda *sent: ask(it, *sent), webdav, s3)
        described = it.http("GET", "/", {})
        assert described.json()["name"] == "efss-transfer"
        assert it.http("HEAD", "/healthz", {}).body == b""
        assert it.http("GET", "/nowhere/at/all", {}).status == 404
        measured = it.http("GET", "/metrics", {"Accept": "*/*"})
        assert b"# HELP" in measured.body
        assert measured.headers["Content-Type"].startswith("text/plain")
        assert it.http("POST", "/", {**HEADERS, "Accept": "application/x-ndjson"}).status == 406
        # `application/json` was parsed by Nuclio; with a charset it was not.
        charset = {**HEADERS, "Content-Type": "application/json; charset=utf-8"}
        assert ask(it, {"source": 1}, charset)[0] == 400
        broken = it.http("POST", "/", HEADERS, b'{"source": ')
        assert broken.json()["code"] == "invalid_json"
    assert TOKEN not in it.log.read_text()
    assert webdav.parameters["pass"] not in it.log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["azure", "nuclio"])
def test_where_nobody_is_asked_who_they_are_nobody_is_served(kind: str, folder: Path) -> None:
    run = folder / "run"
    run.mkdir()
    with runtimes.worker(kind, run) as it:
        status, told = ask(it, {})
    assert (status, told["code"]) == (403, "forbidden")


def test_an_openwhisk_web_action_copies_and_refuses(
    webdav: Storage, s3: Storage, folder: Path
) -> None:
    run = folder / "run"
    run.mkdir()
    with runtimes.worker("openwhisk", run, ASKING) as it:

        def asked(body: Any, headers: dict[str, str] = HEADERS) -> tuple[int, Any]:
            said = web(it, "POST", "", headers, json.dumps(body).encode())
            assert isinstance(said["body"], dict), "JSON that is no object would have to be base64"
            return said["statusCode"], said["body"]

        copied(asked, "rt-openwhisk", webdav, s3, run)
        refused(asked, webdav, s3)
        said = web(it, "GET", "/metrics", {})
        assert said["headers"]["Content-Type"].startswith("text/plain")
        assert "# HELP" in said["body"]
        assert web(it, "HEAD", "/healthz", {})["statusCode"] == 200
        # Not called raw, what was sent is no body: it has become arguments.
        cooked = {"__ow_method": "post", "__ow_headers": HEADERS, "__ow_path": "", "source": {}}
        assert it.say({"value": cooked})["body"]["code"] == "invalid_json"
        # A bare activation has no token.
        assert it.say({"value": {}})["code"] == "unauthenticated"


def test_an_openwhisk_activation_with_the_namespaces_key(
    webdav: Storage, s3: Storage, folder: Path
) -> None:
    """Nobody is asked who they are: whoever has the key is served, whoever comes by HTTP not."""
    run = folder / "run"
    run.mkdir()
    with runtimes.worker("openwhisk", run) as it:

        def asked(body: Any) -> tuple[int, Any]:
            result = it.say({"value": body, "deadline": int((time.time() + 60) * 1000)})
            return result.get("status", 200), result

        copied(asked, "rt-openwhisk-bare", webdav, s3, run)
        assert web(it, "POST", "", HEADERS, b"{}")["body"]["code"] == "forbidden"


@pytest.mark.slow
def test_an_openwhisk_activations_deadline_is_ours(s3: Storage, folder: Path) -> None:
    run = folder / "run"
    run.mkdir()
    with runtimes.worker("openwhisk", run) as it:
        with http_servers.slow_source(100 * MIB, MIB) as slow:
            began = time.monotonic()
            body = {"source": slow.endpoint("data"), "destination": s3.endpoint("rt-slow")}
            told = it.say({"value": body, "deadline": int((time.time() + 15) * 1000)})
            assert time.monotonic() - began < 15
        assert (told["status"], told["code"]) == (504, "incomplete")
        service_process.wait_clean(run, 10)


@pytest.mark.slow
def test_an_openwhisk_answer_fits_into_a_megabyte(
    webdav: Storage, s3: Storage, folder: Path
) -> None:
    run = folder / "run"
    run.mkdir()
    names = [f"{number:04}-{'x' * 200}" for number in range(1400)]
    deep = "/".join(letter * 200 for letter in "defg")
    there = webdav.details["folder"] / "rt-many" / deep
    there.mkdir(parents=True)
    for name in names:
        (there / name).touch()
    body = {
        "source": webdav.endpoint("rt-many"),
        "destination": s3.endpoint("rt-many"),
        "options": {"report": "all", "dry_run": True},
    }
    with runtimes.worker("openwhisk", run, ASKING) as it:
        said = web(it, "POST", "", HEADERS, json.dumps(body).encode())
        assert len(json.dumps(said)) <= MIB
        shown = said["body"]
        assert shown["files_omitted"] > 0
        assert len(shown["files"]) + shown["files_omitted"] == len(names)


@pytest.fixture(scope="module")
def func(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    run = tmp_path_factory.mktemp("func")
    with runtimes.asgi(run, ASKING) as it:
        yield it


def test_knative_func_copies_and_refuses(func: Function, webdav: Storage, s3: Storage) -> None:
    copied(lambda body: ask(func, body), "rt-func", webdav, s3, func.runtime_dir)
    refused(lambda *sent: ask(func, *sent), webdav, s3)
    assert func.get("/health/liveness").text == "OK"
    assert func.get("/healthz").json()["status"] == "ok"
    assert func.get("/nowhere").status_code == 404
    oversized = func.post(b" " * (4 * MIB), headers=HEADERS)
    assert (oversized.status_code, oversized.json()["code"]) == (413, "body_too_large")


@pytest.mark.slow
def test_knative_func_streams_line_by_line(func: Function, s3: Storage) -> None:
    with http_servers.slow_source(2 * MIB, MIB) as slow:
        body = {"source": slow.endpoint("data"), "destination": s3.endpoint("rt-stream")}
        headers = {**HEADERS, "Accept": "application/x-ndjson"}
        with func.post(body, headers=headers, stream=True) as answer:
            lines = answer.iter_lines()
            assert json.loads(next(lines))["event"] == "started"
            # The copy goes on: what is told now was not kept back until its end.
            assert any(func.runtime_dir.iterdir())
            events = [json.loads(line) for line in lines]
    assert "progress" in {event["event"] for event in events}
    assert events[-1]["state"] == "succeeded"
    func.wait_clean(10)


@pytest.mark.slow
@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_knative_func_cancels_the_copy_of_who_hangs_up(
    func: Function, s3: Storage, accept: str
) -> None:
    with http_servers.slow_source(200 * MIB, MIB) as slow:
        body = {"source": slow.endpoint("data"), "destination": s3.endpoint("rt-gone")}
        asked = json.dumps(body).encode()
        url = urlsplit(func.url)
        with socket.create_connection((str(url.hostname), int(url.port or 80)), 10) as connection:
            head = {**HEADERS, "Accept": accept, "Host": url.netloc, "Content-Length": len(asked)}
            lines = [f"{name}: {value}\r\n" for name, value in head.items()]
            connection.sendall(f"POST / HTTP/1.1\r\n{''.join(lines)}\r\n".encode() + asked)
            wait_until(lambda: any(func.runtime_dir.iterdir()))
        # Nothing of it is left long before the copy could have ended.
        func.wait_clean(20)


@pytest.mark.slow
def test_knative_func_that_is_told_to_stop_leaves_nothing(s3: Storage, folder: Path) -> None:
    run = folder / "run"
    run.mkdir()
    with (
        runtimes.asgi(run, ASKING) as it,
        http_servers.slow_source(200 * MIB, MIB) as slow,
        ThreadPoolExecutor(1) as caller,
    ):
        body = {"source": slow.endpoint("data"), "destination": s3.endpoint("rt-stop")}
        answer = caller.submit(it.post, body, headers=HEADERS)
        wait_until(lambda: any(run.iterdir()))
        it.process.terminate()
        # Its server gives requests three seconds; what the caller is told then is the server's.
        assert isinstance(answer.exception(30), requests.RequestException | None)
        it.process.wait(30)
        service_process.wait_clean(run, 10)


@pytest.mark.slow
def test_another_server_of_asgi_serves_it(webdav: Storage, s3: Storage, folder: Path) -> None:
    run = folder / "run"
    run.mkdir()
    with runtimes.asgi(run, server=runtimes.UVICORN) as it:
        # This one tells the caller's address, and nobody stands between.
        copied(lambda body: ask(it, body), "rt-uvicorn", webdav, s3, run)
        assert it.get("/schema/request").headers["Content-Type"] == "application/schema+json"
        assert requests.head(f"{it.url}/healthz", timeout=30).content == b""
        it.process.terminate()
        assert it.process.wait(30) in (0, -15)
    wrong = runtimes.asgi(run, server=runtimes.UVICORN, BODY_BYTES="many")
    with pytest.raises(AssertionError, match="it has ended"), wrong:
        pass
    assert "EFSS_TRANSFER_BODY_BYTES must be" in it.log.read_text()


@pytest.mark.slow
def test_openfaas_passes_on_copies_and_problems(webdav: Storage, s3: Storage, folder: Path) -> None:
    run = folder / "run"
    run.mkdir()
    with runtimes.of_watchdog(run, watchdog(), ASKING) as it:
        copied(lambda body: ask(it, body), "rt-openfaas", webdav, s3, run)
        refused(lambda *sent: ask(it, *sent), webdav, s3)


@pytest.mark.slow
def test_openfaas_answers_before_the_watchdog_gives_up(s3: Storage, folder: Path) -> None:
    run = folder / "run"
    run.mkdir()
    with (
        runtimes.of_watchdog(run, watchdog(exec_timeout="15s"), ASKING) as it,
        http_servers.slow_source(100 * MIB, MIB) as slow,
    ):
        body = {"source": slow.endpoint("data"), "destination": s3.endpoint("rt-of-slow")}
        status, told = ask(it, body)
        assert (status, told["code"], told["retryable"]) == (504, "incomplete", True)
        it.wait_clean(10)


@pytest.mark.slow
def test_behind_a_platforms_proxy_a_local_address_is_no_leave(folder: Path) -> None:
    """All come from this machine there, and so nobody is who they seem."""
    run = folder / "run"
    run.mkdir()
    with runtimes.of_watchdog(run, watchdog()) as it:
        status, told = ask(it, {})
    assert (status, told["code"]) == (403, "forbidden")
