"""The client, before servers that answer as a service, a gateway, or something else would."""

from __future__ import annotations

import http.server
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from efss_transfer.backoff import Backoff
from efss_transfer.client import errors, transport
from efss_transfer.client.client import Client, Timeouts
from efss_transfer.client.errors import Busy, ServiceUnreachable, UnexpectedAnswer, UntrustedService
from efss_transfer.model.events import Finished, Started
from efss_transfer.model.result import State
from support import contract
from support.http_servers import misbehaving, reply
from support.receivers import certificates
from support.storages import CLOSED_PORT, ROOT

TOKEN = "canary-of-a-token"
PASSWORD = "canary-of-a-password"
REQUEST = {
    "source": {"type": "webdav", "parameters": {"url": "https://x", "pass": PASSWORD}},
    "destination": {"storage": "archive", "path": "x"},
}
RESULT = contract.schema("result")["examples"][0]
STARTED = {"event": "started", "engine": "rclone", "started": "2026-11-22T16:00:00.000Z"}
FINISHED = {"event": "result", **{k: v for k, v in RESULT.items() if k != "files"}}

Handler = http.server.BaseHTTPRequestHandler


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's proxies and certificates is what is tested here."""
    for name in os.environ:
        if name.lower().endswith("_proxy") or name.endswith("_CA_BUNDLE"):
            monkeypatch.delenv(name)


@contextmanager
def service(*answers: Callable[[Handler], object]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that gives these answers, the last one for ever; and what it was sent."""
    seen: list[dict[str, Any]] = []

    def answer(handler: Handler) -> None:
        seen.append({"path": handler.path, **{k.lower(): v for k, v in handler.headers.items()}})
        answers[min(len(seen), len(answers)) - 1](handler)

    with misbehaving(answer) as url:
        yield url, seen


def success(handler: Handler) -> None:
    reply(handler, 200, json.dumps(RESULT).encode(), "application/json")


def problem(code: str, status: int, **headers: str) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.rfile.read(int(handler.headers["Content-Length"]))
        retryable = status == 503
        body = json.dumps({"code": code, "detail": "So it is.", "retryable": retryable}).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/problem+json")
        handler.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def streamed(
    *lines: Any, chunked: bool = False, pause: Callable[[], object] = lambda: None
) -> Callable[[Handler], None]:
    """Lines of a stream, a pause after each, and then the end of the connection."""

    def answer(handler: Handler) -> None:
        handler.rfile.read(int(handler.headers["Content-Length"]))
        handler.send_response(200)
        handler.send_header("Content-Type", "application/x-ndjson")
        handler.send_header("Connection", "close")
        handler.close_connection = True
        if chunked:
            handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for line in lines:
            sent = json.dumps(line).encode() + b"\n"
            # In two pieces, which end anywhere.
            for piece in (sent[:7], sent[7:]):
                handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            pause()
        if chunked:
            handler.wfile.write(b"0\r\n\r\n")

    return answer


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("efss_transfer.client.resume.BACKOFF", Backoff(0.01, 60.0, 0.0))


def test_it_sends_what_it_is_given() -> None:
    with service(success) as (url, seen), Client(url + "/at/a/gateway", token=TOKEN) as caller:
        assert caller.transfer(REQUEST).state is State.SUCCEEDED
    (asked,) = seen
    assert asked["path"] == "/at/a/gateway"
    assert asked["authorization"] == f"Bearer {TOKEN}"
    assert asked["content-type"] == "application/json"
    assert asked["accept"].startswith("application/x-ndjson")


@pytest.mark.parametrize("chunked", [True, False])
def test_events_are_told_as_they_come(chunked: bool) -> None:
    """Also where a gateway has undone the chunks."""
    go_on = threading.Event()
    slow = streamed(STARTED, FINISHED, chunked=chunked, pause=lambda: go_on.wait(60))
    with service(slow) as (url, _), Client(url) as caller, caller.stream(REQUEST) as events:
        assert isinstance(next(events), Started)
        assert not go_on.is_set()
        go_on.set()
        assert isinstance(next(events), Finished)


def test_a_netrc_does_not_take_the_place_of_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login eve password guess\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with service(success) as (url, seen), Client(url, token=TOKEN) as caller:
        caller.transfer(REQUEST)
    assert seen[0]["authorization"] == f"Bearer {TOKEN}"


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with service(success) as (url, seen), Client("http://service.example.org") as caller:
        monkeypatch.setenv("HTTP_PROXY", url)
        monkeypatch.setenv("http_proxy", url)
        assert caller.transfer(REQUEST).state is State.SUCCEEDED
    assert seen[0]["path"] == "http://service.example.org/"


def test_a_session_of_the_caller_s_is_used_and_left_open() -> None:
    with requests.Session() as session, service(success) as (url, seen):
        session.headers["X-Mine"] = "1"
        with Client(url, session=session) as caller:
            caller.transfer(REQUEST)
        Client(url, session=session).transfer(REQUEST)
    assert [asked["x-mine"] for asked in seen] == ["1", "1"]


def test_a_certificate_must_be_vouched_for(tmp_path: Path) -> None:
    certificate, tls = certificates(tmp_path / "tls", "127.0.0.1")
    with misbehaving(success, tls) as url:
        with Client(url, token=TOKEN) as caller, pytest.raises(UntrustedService) as refused:
            caller.transfer(REQUEST)
        assert not refused.value.retryable
        with Client(url, verify=str(certificate)) as caller:
            assert caller.transfer(REQUEST).state is State.SUCCEEDED
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
            with Client(url) as caller:
                assert caller.transfer(REQUEST).state is State.SUCCEEDED


@pytest.mark.usefixtures("quick")
def test_what_is_busy_is_asked_again() -> None:
    busy = problem("busy", 503, Retry_After="0")
    with service(busy, busy, success) as (url, seen), Client(url) as caller:
        assert caller.transfer(REQUEST).state is State.SUCCEEDED
    assert len(seen) == 3
    with service(busy) as (url, seen), Client(url, retries=0) as caller:
        with pytest.raises(Busy) as refused:
            caller.transfer(REQUEST)
        assert refused.value.retry_after == 0
    assert len(seen) == 1


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("dated", [True, False])
def test_retry_after_is_heeded(dated: bool) -> None:
    # A date has whole seconds: of three two are left at least, and a busy machine may take one.
    moment = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 3))
    busy = problem("busy", 503, Retry_After=moment if dated else "1")
    with service(busy, success) as (url, _), Client(url) as caller:
        began = time.monotonic()
        caller.transfer(REQUEST)
        assert time.monotonic() - began > 0.5


@pytest.mark.usefixtures("quick")
def test_a_stream_that_breaks_off_is_begun_again() -> None:
    broken = streamed(STARTED)
    with service(broken, streamed(STARTED, FINISHED)) as (url, seen), Client(url) as caller:
        assert caller.transfer(REQUEST).state is State.SUCCEEDED
    assert len(seen) == 2
    with service(broken) as (url, _), Client(url) as caller:
        with caller.stream(REQUEST) as events:
            assert isinstance(next(events), Started)
            with pytest.raises(ServiceUnreachable) as broke:
                next(events)
        assert broke.value.retryable


@pytest.mark.parametrize("chunked", [True, False])
def test_a_service_that_falls_silent_is_given_up(chunked: bool) -> None:
    over = threading.Event()
    silent = streamed(STARTED, chunked=chunked, pause=lambda: over.wait(60))
    patience = Timeouts(silence=0.5)
    with service(silent) as (url, _), Client(url, timeouts=patience) as caller:
        with pytest.raises(ServiceUnreachable), caller.stream(REQUEST) as events:
            list(events)
        assert not over.is_set()
        over.set()


def test_a_service_that_never_answers_is_given_up() -> None:
    over = threading.Event()
    patience = Timeouts(answer=0.5)
    with service(lambda _: bool(over.wait(60))) as (url, _):
        with Client(url, timeouts=patience, retries=0) as caller, pytest.raises(ServiceUnreachable):
            caller.transfer(REQUEST)
        over.set()


def test_nobody_there_is_told_and_can_pass() -> None:
    url = f"http://127.0.0.1:{CLOSED_PORT}"
    with Client(url, retries=0) as caller, pytest.raises(ServiceUnreachable) as gone:
        caller.transfer(REQUEST)
    assert gone.value.retryable


def test_a_redirect_is_not_followed() -> None:
    """Passwords in the request would be handed to whomever it names."""
    with service(success) as (elsewhere, seen):

        def moved(handler: Handler) -> None:
            handler.rfile.read(int(handler.headers["Content-Length"]))
            handler.send_response(307)
            handler.send_header("Location", elsewhere)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        with (
            service(moved) as (url, _),
            Client(url) as caller,
            pytest.raises(UnexpectedAnswer, match="answered with a redirect"),
        ):
            caller.transfer(REQUEST)
        assert seen == []


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (200, "text/html", UnexpectedAnswer),
        (404, "text/html", UnexpectedAnswer),
        (500, "application/json", UnexpectedAnswer),
        (502, "text/html", ServiceUnreachable),
        (503, "text/plain", ServiceUnreachable),
        (504, "text/html", ServiceUnreachable),
    ],
)
def test_a_gateway_s_own_words_are_no_result(
    status: int, kind: str, expected: type[Exception]
) -> None:
    with (
        service(lambda it: reply(it, status, b"<h1>nginx</h1>", kind)) as (url, _),
        Client(url, retries=0) as caller,
        pytest.raises(expected) as odd,
    ):
        caller.transfer(REQUEST)
    assert isinstance(odd.value, errors.ClientError)
    assert odd.value.retryable is (expected is ServiceUnreachable)


def test_an_endless_line_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_LONGEST_LINE", 1000)
    with (
        service(streamed("x" * 5000)) as (url, _),
        Client(url) as caller,
        pytest.raises(UnexpectedAnswer),
        caller.stream(REQUEST) as events,
    ):
        list(events)


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://x", "http://", f"http://u:{PASSWORD}@x", f"https://{PASSWORD}@x"],
)
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(ValueError) as refused:
        Client(url)
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize("token", ["", " ", f"{TOKEN} x", f"{TOKEN}\r\nX: y", f"{TOKEN}é"])
def test_a_token_that_no_header_can_carry_is_refused(token: str) -> None:
    with pytest.raises(ValueError) as refused:
        Client("https://x", token=token)
    assert TOKEN not in str(refused.value)


def test_nothing_secret_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    shown = []
    answers = {
        "refused": problem("unauthenticated", 401),
        "odd": lambda it: reply(it, 418, b"short and stout"),
        "cut": lambda it: it.connection.shutdown(socket.SHUT_RDWR),
    }
    for answer in answers.values():
        with service(answer) as (url, _), Client(url, token=TOKEN, retries=0) as caller:
            shown += [repr(caller), str(caller)]
            with pytest.raises(errors.ClientError) as failed:
                caller.transfer(REQUEST)
            error: BaseException | None = failed.value
            while error is not None:
                shown += [repr(error), *traceback.format_exception(error), str(vars(error))]
                error = error.__context__
    shown += [record.getMessage() for record in caplog.records]
    for text in shown:
        assert TOKEN not in text
        assert PASSWORD not in text


def test_nothing_of_the_server_s_is_loaded() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import efss_transfer.client.client, sys; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "functions")},
    ).stdout.split()
    for name in ("flask", "functions_framework", "jsonschema", "prometheus_client", "rich", "jwt"):
        assert name not in loaded
    assert "efss_transfer.service.application" not in loaded
