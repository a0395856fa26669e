"""Notifications: signed, retried, and sent to permitted addresses only."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.egress import addresses
from efss_transfer.egress.rules import Egress, EgressRules
from efss_transfer.model import targets
from efss_transfer.model.errors import ConfigurationError
from efss_transfer.model.result import FileOutcome, FileState, Result, State, Totals
from efss_transfer.service import webhook
from efss_transfer.service.webhook import Receiver, deliver, signature, signing_key
from support.contract import complaints
from support.receivers import KEY, SECRET, certificates, receiver
from support.storages import CLOSED_PORT, serving

HERE = Egress(EgressRules(networks=(ip_network("127.0.0.0/8"),)).permits)
BEGUN = datetime(2026, 11, 22, 16, 0, 0, tzinfo=UTC)
RESULT = Result(
    state=State.SUCCEEDED,
    engine="rclone",
    totals=Totals(transferred=1, transferred_bytes=5),
    started=BEGUN,
    finished=BEGUN + timedelta(seconds=9),
    files=(FileOutcome("a.txt", FileState.TRANSFERRED, 5),),
    id="run-42",
)


def notify(url: str, result: Result = RESULT, seconds: float = 10, egress: Egress = HERE) -> Any:
    """Send a notification; returns the result's member `notification`, checked by the schema."""
    notification = deliver(Receiver(url, KEY, egress), "of-this-transfer", result, seconds)
    document = replace(result, notification=notification).to_json()
    assert complaints("result", document) == []
    return document["notification"]


def outcome(notification: Any) -> tuple[str, int, int | None]:
    code = notification["error"]["code"] if "error" in notification else "delivered"
    assert notification["delivered"] == (code == "delivered")
    return code, notification["attempts"], notification.get("status")


def test_signature_matches_the_published_example() -> None:
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        SECRET.removeprefix("whsec_"),
        "whsec_c2hvcnQ=",
        SECRET + "!",
        SECRET[:-1],
        "whsec_" + "QUJD" * 22,
        "whsec_é",
        SECRET + "\n",
    ],
)
def test_malformed_secret_is_refused_without_being_quoted(secret: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        signing_key(secret)
    assert "whsec_" in str(refused.value)
    assert len(secret) < 10 or secret not in str(refused.value)


def test_receiver_gets_one_signed_event() -> None:
    with receiver() as it:
        assert outcome(notify(it.url + "/hook?token=canary")) == ("delivered", 1, 204)
    (heard,) = it.heard
    assert (heard.method, heard.path) == ("POST", "/hook?token=canary")
    assert heard.headers["content-type"].startswith("application/cloudevents+json")
    assert heard.headers["host"] == it.url.removeprefix("http://")
    assert heard.is_signed()
    assert not heard.is_signed(b"x" * 24)
    assert abs(int(heard.headers["webhook-timestamp"]) - time.time()) < 60
    assert heard.headers["webhook-id"] == heard.event["id"] == "of-this-transfer"
    event = heard.event
    data = event.pop("data")
    assert event == {
        "specversion": "1.0",
        "id": "of-this-transfer",
        "source": "urn:efss-transfer:service",
        "type": "efss-transfer.transfer.succeeded",
        "time": "2026-11-22T16:00:09.000Z",
        "subject": "run-42",
        "datacontenttype": "application/json",
        "dataschema": "urn:efss-transfer:schema:v1:result",
    }
    assert complaints("result", data) == []
    assert "files" not in data
    assert data["totals"]["files"]["transferred"] == 1


def test_event_of_a_request_without_id_has_no_subject() -> None:
    with receiver() as it:
        notify(it.url, replace(RESULT, id=None, state=State.CANCELLED))
    assert "subject" not in it.heard[0].event
    assert it.heard[0].event["type"] == "efss-transfer.transfer.cancelled"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_temporary_status_is_retried_under_the_same_id(status: int) -> None:
    with receiver(status, 200) as it:
        assert outcome(notify(it.url)) == ("delivered", 2, 200)
    assert len({heard.headers["webhook-id"] for heard in it.heard}) == 1
    assert all(heard.is_signed() for heard in it.heard)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422, 301, 302, 307, 308, 304])
def test_final_status_is_not_retried(status: int) -> None:
    with receiver(status, 200) as it:
        assert outcome(notify(it.url)) == ("rejected", 1, status)
    assert len(it.heard) == 1


def test_redirect_is_not_followed() -> None:
    with receiver() as elsewhere:
        to = {"Location": elsewhere.url + "/canary"}
        with receiver((307, to)) as it:
            notification = notify(it.url)
    assert outcome(notification) == ("rejected", 1, 307)
    assert elsewhere.heard == []
    assert "canary" not in json.dumps(notification)


def test_delivery_stops_after_three_attempts() -> None:
    with receiver(500) as it:
        assert outcome(notify(it.url)) == ("rejected", 3, 500)
    assert len(it.heard) == 3


def test_retry_after_is_respected() -> None:
    with receiver((503, {"Retry-After": "2"}), 200) as it:
        began = time.monotonic()
        assert outcome(notify(it.url)) == ("delivered", 2, 200)
        assert 2 <= time.monotonic() - began < 8


@pytest.mark.parametrize(
    "wanted",
    ["3600", "9" * 500, format_datetime(datetime.now(UTC) + timedelta(hours=1), True)],
    ids=["seconds", "many digits", "date"],
)
def test_retry_after_beyond_the_deadline_ends_delivery(wanted: str) -> None:
    with receiver((429, {"Retry-After": wanted}), 200) as it:
        began = time.monotonic()
        assert outcome(notify(it.url)) == ("rejected", 1, 429)
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("wanted", ["", "soon", "-1", "1e3", "Sun, 32 Nov", "\u0662"])
def test_malformed_retry_after_is_ignored(wanted: str) -> None:
    with receiver((503, {"Retry-After": wanted.encode().decode("latin-1")}), 200) as it:
        assert outcome(notify(it.url)) == ("delivered", 2, 200)


def test_refused_connection_is_retried() -> None:
    assert outcome(notify(f"http://127.0.0.1:{CLOSED_PORT}/")) == ("unreachable", 3, None)


def test_unknown_host_is_unreachable() -> None:
    assert outcome(notify("http://nobody.invalid/"))[0] == "unreachable"


@contextmanager
def raw_server(*pieces: bytes, pause: float) -> Iterator[str]:
    """A server that sends these pieces and then repeats the last one, whatever it receives."""
    stop = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 16)
            try:
                for piece in pieces:
                    self.request.sendall(piece)
                while not stop.wait(pause):
                    self.request.sendall(pieces[-1])
            except OSError:
                pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with (
        Server(("127.0.0.1", 0), Handler) as server,
        serving(server.serve_forever, server.shutdown),
    ):
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            stop.set()


@pytest.mark.parametrize(
    ("pieces", "code"),
    [
        ((b"",), "unreachable"),
        ((b"HTTP/1.1 ", b"2"), "unreachable"),
        # The status line is all that the service needs.
        ((b"HTTP/1.1 200 OK\r\nX-", b"x"), "delivered"),
        ((b"HTTP/1.1 100 Continue\r\n\r\n",), "unreachable"),
    ],
    ids=["silence", "status", "header", "continue"],
)
def test_endless_response_does_not_exceed_the_deadline(
    pieces: tuple[bytes, ...], code: str
) -> None:
    with raw_server(*pieces, pause=0.05) as url:
        began = time.monotonic()
        assert outcome(notify(url, seconds=2))[0] == code
        assert time.monotonic() - began < 10


def test_response_body_is_not_read() -> None:
    with raw_server(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000, pause=0.01) as url:
        began = time.monotonic()
        assert outcome(notify(url)) == ("delivered", 1, 200)
        assert time.monotonic() - began < 8  # two seconds less than it would wait


@pytest.mark.parametrize("said", [b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x00" * 100_000])
def test_response_that_is_not_http_is_unreachable(said: bytes) -> None:
    with raw_server(said, pause=10) as url:
        notification = notify(url, seconds=3)
    assert outcome(notification)[0] == "unreachable"
    assert "nonsense" not in json.dumps(notification)


# --- Network rules -----------------------------------------------------------------------


def test_forbidden_address_is_not_connected_to() -> None:
    with receiver() as it:
        public = Egress(EgressRules().permits)
        assert outcome(notify(it.url, egress=public)) == ("forbidden", 1, None)
    assert it.heard == []


def test_name_that_resolves_to_a_forbidden_address_by_now_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS rebinding: public when the request was admitted, a loopback address now."""
    asked: list[str] = []

    def resolve(host: str, _: float) -> list[targets.Address]:
        asked.append(host)
        return [ip_address("127.0.0.1")]

    monkeypatch.setattr(addresses, "resolve", resolve)
    with receiver() as it:
        url = f"http://rebinding.example.org:{it.url.rpartition(':')[2]}"
        assert outcome(notify(url, egress=Egress(EgressRules().permits))) == ("forbidden", 1, None)
        assert outcome(notify(url)) == ("delivered", 1, 204)
    assert asked == ["rebinding.example.org"] * 2
    assert it.heard[0].headers["host"].startswith("rebinding.example.org:")


def test_only_permitted_addresses_of_a_name_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [ip_address(text) for text in ("10.0.0.1", "fe80::1%1", "127.0.0.1")]
    monkeypatch.setattr(addresses, "resolve", lambda *_: found)
    with receiver() as it:
        url = f"http://several.example.org:{it.url.rpartition(':')[2]}"
        assert outcome(notify(url)) == ("delivered", 1, 204)


# --- TLS ---------------------------------------------------------------------------------


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every name resolves to the loopback address."""
    monkeypatch.setattr(addresses, "resolve", lambda *_: [ip_address("127.0.0.1")])


def test_tls_certificate_is_checked_for_the_host_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resolver: None
) -> None:
    authority, context = certificates(tmp_path, "hooks.example.org", "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with receiver(tls=context) as it:
        port = it.url.rpartition(":")[2]
        assert outcome(notify(f"https://hooks.example.org:{port}/")) == ("delivered", 1, 204)
        assert outcome(notify(it.url)) == ("delivered", 1, 204)
        assert outcome(notify(f"https://other.example.org:{port}/")) == ("untrusted", 1, None)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates(tmp_path / "other", "x.org")[0]))
        assert outcome(notify(it.url)) == ("untrusted", 1, None)
    assert len(it.heard) == 2
    assert it.heard[0].is_signed()


# --- Through the site's proxy ------------------------------------------------------------


@contextmanager
def proxy(to: str) -> Iterator[tuple[str, list[str]]]:
    """A proxy that connects to one port always; yields its URL and the request lines it got."""
    seen: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            head = first = self.rfile.readline()
            seen.append(first.decode().strip())
            with socket.create_connection(("127.0.0.1", int(to.rpartition(":")[2]))) as onward:
                if first.startswith(b"CONNECT"):
                    while self.rfile.readline().strip():
                        pass
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                    head = b""
                onward.sendall(head)
                threading.Thread(target=pump, args=(onward, self.request), daemon=True).start()
                while piece := self.rfile.read1(1 << 16):
                    onward.sendall(piece)

    def pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while piece := source.recv(1 << 16):
                target.sendall(piece)
        except OSError:
            pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    with (
        Server(("127.0.0.1", 0), Handler) as server,
        serving(server.serve_forever, server.shutdown),
    ):
        yield f"http://127.0.0.1:{server.server_address[1]}", seen


def test_proxy_of_the_site_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receivers' names do not resolve: only the proxy can reach them."""
    authority, context = certificates(tmp_path, "hooks.invalid")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    for scheme, tls, first in (
        ("http", None, "POST http://hooks.invalid/x?y HTTP/1.1"),
        ("https", context, "CONNECT hooks.invalid:443 HTTP/1."),
    ):
        with receiver(tls=tls) as it, proxy(it.url) as (url, seen):
            egress = Egress(lambda *_: False, url)
            assert outcome(notify(f"{scheme}://hooks.invalid/x?y", egress=egress)) == (
                "delivered",
                1,
                204,
            )
        assert seen[0].startswith(first)
        assert it.heard[0].headers["host"] == "hooks.invalid"
        assert it.heard[0].is_signed()


def test_internal_error_is_reported_and_not_raised(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> Any:
        raise RuntimeError("canary")

    monkeypatch.setattr(webhook, "cloud_event", broken)
    assert outcome(notify("http://127.0.0.1:1/")) == ("internal", 0, None)
    assert "RuntimeError" in caplog.text
    assert "canary" not in caplog.text
