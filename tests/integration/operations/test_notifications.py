"""What others learn of a transfer: a receiver, Prometheus, and whoever reads the log."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from support import http_servers, service_process
from support.contract import complaints
from support.receivers import KEY, SECRET, certificates, receiver
from support.service_process import LOOPBACK, Function
from support.storages import CLOSED_PORT, ROOT, Storage

SITE: dict[str, Any] = {**LOOPBACK, "notify": {"secret": {"env": "NOTIFY_SECRET"}}}
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
MIB = 1 << 20


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    """A function that can notify, with an authority of our own."""
    runtime = tmp_path_factory.mktemp("outside")
    authority, context = certificates(runtime.parent / "tls", "127.0.0.1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOTIFY_SECRET", SECRET)
        patch.setenv("SSL_CERT_FILE", str(authority))
        with service_process.function(runtime, site=SITE) as made:
            made.tls = context  # type: ignore[attr-defined]
            yield made


@pytest.fixture
def watched(running: Function) -> Iterator[Function]:
    yield running
    running.wait_clean()


def lines(function: Function) -> list[dict[str, Any]]:
    """All that our own loggers have written; every line of it must be JSON."""
    text = function.log.read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def of_request(function: Function, identifier: str) -> list[dict[str, Any]]:
    return [line for line in lines(function) if line.get("request_id") == identifier]


def numbers(function: Function) -> dict[str, float]:
    return {
        sample.name + str(sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(function.get("/metrics").text)
        for sample in family.samples
    }


def hidden(function: Function, *more: str) -> None:
    """No secret is in the log, nor in what a caller or a receiver got."""
    for text in (function.log.read_text(), *more):
        for secret in (SECRET, SECRET.removeprefix("whsec_"), KEY.decode(), KEY.hex()):
            assert secret not in text
        assert "canary-token" not in text


def test_a_copy_is_told_to_its_receiver(watched: Function, webdav: Storage, s3: Storage) -> None:
    hashes = webdav.fill("told", {"a.txt": b"a", "b.txt": b"bb"})
    ends = webdav.endpoint("told"), s3.endpoint("told")
    with receiver() as it:
        answer = watched.copy(*ends, id="told-1", notify={"url": it.url + "/x?token=canary-token"})
    assert answer.status_code == 200, answer.text
    assert s3.hashes("bucket/told") == hashes
    result = answer.json()
    assert complaints("result", result) == []
    assert result.pop("notification") == {"delivered": True, "attempts": 1, "status": 204}
    (heard,) = it.heard
    assert heard.is_signed()
    assert heard.path == "/x?token=canary-token"
    event = heard.event
    assert (event["type"], event["subject"]) == ("efss-transfer.transfer.succeeded", "told-1")
    del result["files"]
    assert event["data"] == result
    hidden(watched, answer.text, heard.body.decode())
    assert webdav.parameters["pass"] not in heard.body.decode() + watched.log.read_text()
    ended = of_request(watched, "told-1")[-1]
    assert ended["transfer"] == event["id"] == heard.headers["webhook-id"]


def test_over_https_with_an_authority_that_the_operator_trusts(
    watched: Function, webdav: Storage, s3: Storage
) -> None:
    webdav.fill("tls", {"a.txt": b"a"})
    with receiver(tls=watched.tls) as it:  # type: ignore[attr-defined]
        url = it.url
        answer = watched.copy(webdav.endpoint("tls"), s3.endpoint("tls"), notify={"url": url})
        assert answer.json()["notification"]["delivered"] is True, answer.text
        other = url.replace("127.0.0.1", "localhost")  # not whom the certificate is for
        answer = watched.copy(webdav.endpoint("tls"), s3.endpoint("tls"), notify={"url": other})
    assert answer.status_code == 200
    assert answer.json()["notification"]["error"]["code"] == "untrusted"
    assert it.heard[0].is_signed()
    assert len(it.heard) == 1


def test_a_receiver_that_fails_at_first_is_told_again_in_a_stream_too(
    watched: Function, webdav: Storage, s3: Storage
) -> None:
    webdav.fill("again", {"a.txt": b"a"})
    body = {"source": webdav.endpoint("again"), "destination": s3.endpoint("again")}
    with receiver(503, 200) as it:
        answer = watched.post(
            {**body, "notify": {"url": it.url}}, headers={"Accept": "application/x-ndjson"}
        )
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert all(complaints("event", event) == [] for event in events)
    assert events[-1]["notification"] == {"delivered": True, "attempts": 2, "status": 200}
    assert events[-1]["state"] == "succeeded"


def test_what_the_receiver_does_changes_nothing_of_the_transfer(
    watched: Function, webdav: Storage, s3: Storage
) -> None:
    webdav.fill("same", {"a.txt": b"a"})
    ends = webdav.endpoint("same"), s3.endpoint("same")
    with receiver() as elsewhere:
        with receiver((307, {"Location": elsewhere.url + "/canary-token"})) as it:
            moved = watched.copy(*ends, notify={"url": it.url})
        nobody = f"http://127.0.0.1:{CLOSED_PORT}/canary-token"
        gone = watched.copy(*ends, notify={"url": nobody})
    assert elsewhere.heard == []
    for answer, code in ((moved, "rejected"), (gone, "unreachable")):
        assert answer.status_code == 200
        assert complaints("result", answer.json()) == []
        assert answer.json()["state"] == "succeeded"
        assert answer.json()["notification"]["delivered"] is False
        assert answer.json()["notification"]["error"]["code"] == code
    hidden(watched, moved.text, gone.text)


def test_a_transfer_that_fails_is_told_as_well(
    watched: Function, webdav: Storage, s3: Storage
) -> None:
    with receiver() as it:
        answer = watched.copy(
            webdav.endpoint("not-there"), s3.endpoint("x"), notify={"url": it.url}
        )
    assert answer.status_code == 422
    assert complaints("problem", answer.json()) == []
    assert answer.json()["result"]["notification"]["delivered"] is True
    assert it.heard[0].event["type"] == "efss-transfer.transfer.failed"
    assert it.heard[0].event["data"]["errors"][0]["code"] == "source_not_found"


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_a_caller_who_went_away_leaves_the_receiver_to_be_told(
    watched: Function, s3: Storage, accept: str
) -> None:
    with http_servers.slow_source(100 * MIB, MIB) as slow, receiver() as it:
        body = {
            "id": f"left-{accept}",
            "source": slow.endpoint("data"),
            "destination": s3.endpoint("left"),
            "notify": {"url": it.url},
        }
        content = json.dumps(body).encode()
        host, port = watched.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as caller:
            caller.sendall(
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                + f"Accept: {accept}\r\nContent-Length: {len(content)}\r\n\r\n".encode()
                + content
            )
            until = time.monotonic() + 20
            while not any(
                line["event"] == "transfer.attempt"
                for line in of_request(watched, f"left-{accept}")
            ):
                assert time.monotonic() < until
                time.sleep(0.05)
        until = time.monotonic() + 20
        while not it.heard:
            assert time.monotonic() < until
            time.sleep(0.05)
    assert [heard.event["type"] for heard in it.heard] == ["efss-transfer.transfer.cancelled"]
    assert complaints("result", it.heard[0].event["data"]) == []


# --- Refused -----------------------------------------------------------------------------


def refused(answer: requests.Response, status: int, pointer: str) -> None:
    assert answer.status_code == status, answer.text
    assert complaints("problem", answer.json()) == []
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_a_receiver_that_may_not_be_reached_is_refused_before_anything_starts(
    watched: Function, webdav: Storage, s3: Storage
) -> None:
    ends = webdav.endpoint("x"), s3.endpoint("x")
    for url in ("http://10.0.0.1/", "http://[::1]:1/", "http://169.254.169.254/latest"):
        refused(watched.copy(*ends, notify={"url": url}), 403, "/notify/url")
    for url in ("http://user:canary-token@127.0.0.1/", "file:///etc/passwd", "http://127.0.0.1#x"):
        refused(watched.copy(*ends, notify={"url": url}), 400, "/notify/url")
    refused(watched.copy(*ends, notify={"url": "http://0x7f.1/"}), 400, "/notify/url")
    hidden(watched)


def test_a_site_without_a_secret_refuses_it(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    answer = function.copy(
        webdav.endpoint("x"), s3.endpoint("x"), notify={"url": "http://127.0.0.1:1/"}
    )
    refused(answer, 403, "/notify")
    assert "notify.secret" in answer.json()["errors"][0]["message"]


MAIN = """
from ipaddress import ip_address
from threading import local
import functions_framework
from efss_transfer.egress import addresses
from efss_transfer.runtimes.flask import app

real, asked = addresses.resolve, []

def resolve(host, *seconds):
    if host != "rebinding.example.org":
        return real(host, *seconds)
    asked.append(host)
    return [ip_address("127.0.0.1" if len(asked) == 1 else "127.0.0.2")]

addresses.resolve = resolve
service = app.create_service()

@functions_framework.http
def transfer(request):
    return service.handle(request)
"""


def test_a_name_that_changes_after_it_was_admitted_is_not_followed(
    tmp_path: Path, webdav: Storage, s3: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function's own code, with a resolver whose second answer is another address."""
    webdav.fill("rebinding", {"a.txt": b"a"})
    main = tmp_path / "main.py"
    main.write_text(MAIN)
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("NOTIFY_SECRET", SECRET)
    site = {**SITE, "allow": {"networks": ["127.0.0.1/32"]}}
    with (
        socket.create_server(("127.0.0.2", 0)) as inside,
        service_process.function(tmp_path / "run", main=main, cwd=ROOT, site=site) as own,
    ):
        url = f"http://rebinding.example.org:{inside.getsockname()[1]}/"
        answer = own.copy(
            webdav.endpoint("rebinding"), s3.endpoint("rebinding"), notify={"url": url}
        )
        inside.setblocking(False)
        with pytest.raises(BlockingIOError):
            inside.accept()
    assert answer.status_code == 200, answer.text
    assert answer.json()["notification"]["error"]["code"] == "forbidden"


def test_a_secret_that_cannot_be_used_is_found_before_anything_starts(
    tmp_path: Path, webdav: Storage, s3: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SECRET", "canary-no-base64")
    (tmp_path / "run").mkdir()
    with service_process.function(tmp_path / "run", site=SITE) as own:
        answer = own.copy(
            webdav.endpoint("x"), s3.endpoint("x"), notify={"url": "http://127.0.0.1:1/"}
        )
        log = lines(own)
    assert answer.status_code == 500
    assert "server log" in answer.json()["detail"]
    assert any("whsec_" in line["message"] for line in log)
    assert not any(line["event"].startswith("transfer.") for line in log)
    assert "canary-no-base64" not in answer.text + json.dumps(log)


# --- Metrics and the log -----------------------------------------------------------------


def test_what_was_done_is_counted(watched: Function, webdav: Storage, s3: Storage) -> None:
    webdav.fill("counted", {"a.txt": b"aa", "b.txt": b"bbb"})
    before = numbers(watched)
    assert watched.copy(webdav.endpoint("counted"), s3.endpoint("counted")).status_code == 200
    assert watched.copy(webdav.endpoint("nowhere"), s3.endpoint("counted")).status_code == 422
    assert watched.copy(webdav.endpoint("counted"), {"type": "local"}).status_code == 400
    after = numbers(watched)

    def more(name: str, *labels: str) -> float:
        key = f"efss_transfer_{name}{sorted(labels)}"
        return after[key] - before.get(key, 0)

    assert more("transfers_total", "succeeded", "none") == 1
    assert more("transfers_total", "failed", "source_not_found") == 1
    assert more("files_total", "transferred") == 2
    assert more("transferred_bytes_total") == 5
    assert more("transfer_duration_seconds_count", "succeeded") == 1
    assert more("engine_boot_seconds_count", "rclone") == 2
    assert more("refused_requests_total", "invalid_request") == 1
    assert after["efss_transfer_running_transfers[]"] == 0
    for word in ("anonymous", "127.0.0.1", "counted", "webdav"):
        assert word not in watched.get("/metrics").text


def test_the_numbers_are_read_and_nothing_else(watched: Function) -> None:
    assert watched.get("/metrics").headers["Content-Type"].startswith("text/plain; version=0.0.4")
    with requests.Session() as session:
        session.trust_env = False
        at = watched.url + "/metrics"
        wanted = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.3"}
        answer = session.get(at, headers=wanted, timeout=60)
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        assert answer.text.endswith("# EOF\n")
        assert session.head(at, timeout=60).text == ""
        assert session.post(at, timeout=60).status_code == 405
    assert watched.get("/").json()["links"]["metrics"] == "/metrics"
    assert "/metrics" in watched.get("/openapi.json").json()["paths"]


def test_the_log_is_a_line_for_each_state(watched: Function, webdav: Storage, s3: Storage) -> None:
    webdav.fill("logged", {"a.txt": b"a"})
    body: dict[str, Any] = {
        "id": 'a "name" with 🎉',
        "source": webdav.endpoint("logged"),
        "destination": s3.endpoint("logged"),
    }
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    answer = watched.post(body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert TRACE not in answer.text + str(answer.headers)
    told = of_request(watched, body["id"])
    assert [line["event"] for line in told] == [
        "transfer.started",
        "transfer.attempt",
        "transfer.ended",
    ]
    for line in told:
        assert line["caller"] == "anonymous"
        assert (line["trace_id"], line["span_id"]) == (TRACE, SPAN)
        assert line["level"] == "INFO"
        assert line["logger"] == "efss_transfer.service.runner"
    assert len({line["transfer"] for line in told}) == 1
    assert told[-1]["state"] == "succeeded"


def test_a_refusal_is_logged_with_its_trace_and_a_malformed_one_is_nothing(
    watched: Function,
) -> None:
    before = len(lines(watched))
    for header in (f"00-{TRACE}-{SPAN}-01", "canary-trace", f"00-{'0' * 32}-{SPAN}-01"):
        answer = watched.post(b"{}", headers={"traceparent": header})
        assert answer.status_code == 400
    told = [line for line in lines(watched)[before:] if line["event"] == "refused"]
    assert [line.get("trace_id") for line in told] == [TRACE, None, None]
    assert all(line["code"] == "invalid_request" for line in told)
    assert "canary-trace" not in watched.log.read_text()


def test_every_line_of_ours_is_json(watched: Function) -> None:
    """What is not is the server's own."""
    for line in watched.log.read_text().splitlines():
        assert line.startswith("{") or "efss_transfer" not in line


def test_a_person_reads_text(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with service_process.function(tmp_path / "run", LOG_FORMAT="text") as own:
        own.post(b"{}")
        log = own.log.read_text()
    assert "INFO request by 'anonymous' refused: invalid_request code=invalid_request" in log
    assert '{"time"' not in log
