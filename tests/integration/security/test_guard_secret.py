"""The egress guard of a transfer serves that transfer's rclone, and no other local process."""

from __future__ import annotations

import base64
import http.server
import json
import re
import socket
import ssl
import threading
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from efss_transfer.config.settings import Settings
from efss_transfer.egress.access import Access
from efss_transfer.engines.rclone.engine import RcloneEngine
from efss_transfer.engines.rclone.log.parser import LogParser
from efss_transfer.model.events import Finished
from efss_transfer.model.request import Endpoint, TransferRequest
from efss_transfer.model.result import State
from engine_contract import context
from support import http_servers, service_process
from support.certificates import certificate
from support.forward_proxy import forward_proxy
from support.service_process import Function
from support.socks import GREETING, METHOD, password, read_all, request
from support.storages import Storage
from support.watching import Watching

MIB = 1 << 20
SECRET = "cafe" * 8


def guard_port(process: psutil.Process) -> int:
    """The port of a guard, as anybody on the machine can read it."""
    found = re.search(r"--http-proxy=\w+://127\.0\.0\.1:(\d+)", " ".join(process.cmdline()))
    assert found is not None, process.cmdline()
    return int(found[1])


def answer_of(port: int, sent: bytes) -> bytes:
    """What a guard answers to a local process before it disconnects."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        with suppress(OSError):
            client.sendall(sent)
        try:
            return read_all(client)
        except ConnectionResetError:
            return b""


def counted(port: int) -> int:
    """The open connections to a port of this machine."""
    remotes: list[tuple[Any, ...]] = [
        tuple(one.raddr)
        for one in psutil.net_connections("tcp")
        if one.status == psutil.CONN_ESTABLISHED
    ]
    return sum(remote[1:] == (port,) for remote in remotes)


@contextmanager
def held_source() -> Iterator[tuple[Storage, threading.Event, threading.Event]]:
    """A WebDAV source whose file is being read after the first event, and ends after the second:
    between both the copy is surely going on.
    """
    reading, released = threading.Event(), threading.Event()
    content = bytes(MIB)

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        path = handler.path.rstrip("/")
        if handler.command != "GET":
            inside = {"/data/0.bin": MIB}
            if path == "/data":
                folder = {"/data/": 0}
                shown = folder if handler.headers.get("Depth") == "0" else {**folder, **inside}
            else:
                shown = {one: size for one, size in inside.items() if one == path}
            body = http_servers.multistatus(shown)
            http_servers.reply(handler, 207 if shown else 404, body, "text/xml")
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(MIB))
        handler.end_headers()
        handler.wfile.write(content[: MIB // 2])
        reading.set()
        released.wait(100)
        handler.wfile.write(content[MIB // 2 :])

    with http_servers.misbehaving(answer) as url:
        nothing: Any = None
        yield (
            Storage("webdav", {"url": url, "vendor": "other"}, nothing, nothing),
            reading,
            released,
        )


@pytest.fixture(params=["booted", "standby"])
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Function]:
    (tmp_path / "run").mkdir()
    is_standby = request.param == "standby"
    standby = str(int(is_standby))
    with service_process.function(tmp_path / "run", LOG_LEVEL="DEBUG", STANDBY=standby) as function:
        if is_standby:
            function.get("/healthz")
            function.standby()
        yield function
    service_process.wait_clean(tmp_path / "run", 15)


@pytest.mark.field_case("K11")
def test_other_local_process_is_refused_and_the_transfer_succeeds(
    running: Function, s3: Storage
) -> None:
    there = uuid.uuid4().hex
    with held_source() as (slow, reading, released):
        storage = urlsplit(slow.parameters["url"]).port or 0
        body = {"source": slow.endpoint("data"), "destination": s3.endpoint(there)}
        events = running.events(body)
        assert next(events)["event"] == "started"
        assert reading.wait(60)
        (rclone,) = running.daemons()  # the next standby boots when this transfer has ended
        port = guard_port(rclone)
        before = counted(storage)
        asked = request("127.0.0.1", storage)
        assert answer_of(port, b"\x05\x01\x00" + asked) in (b"\x05\xff", b"")
        for greeting in (GREETING, METHOD + password("source", ""), METHOD + password("x", "y")):
            assert answer_of(port, greeting + asked) in (b"\x05\x02\x01\x01", b"\x05\x02", b"")
        url = f"http://127.0.0.1:{storage}/data/0.bin"
        assert answer_of(port, f"GET {url} HTTP/1.1\r\n\r\n".encode()) == b""
        assert answer_of(port, f"CONNECT {url[7:]} HTTP/1.1\r\n\r\n".encode()) == b""
        assert counted(storage) <= before
        for process in running.family():
            with suppress(psutil.NoSuchProcess):
                shown = " ".join(process.cmdline()) + json.dumps(process.environ())
                assert not re.search(r"\w+:\w+@127\.0\.0\.1", shown)
        released.set()
        last = list(events)[-1]
    assert (last["event"], last["state"]) == ("result", "succeeded")
    assert list(s3.hashes(f"bucket/{there}")) == ["0.bin"]
    log = running.log.read_text()
    assert log.count("refused a local client of the egress guard") == 1
    assert not re.search(r"\w+:\w+@127\.0\.0\.1", log + json.dumps(last))


class Watch(Watching):
    """Looks for a text in what all processes show of themselves."""

    period = 0.002

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.rclones: set[int] = set()
        self.found: list[str] = []

    def look(self) -> None:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if process.name() == "rclone":
                    self.rclones.add(process.pid)
                shown = " ".join(process.cmdline()) + json.dumps(process.environ())
                if self.text in shown:
                    self.found.append(process.name())


@pytest.mark.parametrize(
    ("source", "destination"),
    [
        ("wsgidav", "s3"),
        ("s3", "gcs"),
        ("sftp", "ftp"),
        ("ftp", "sftp"),
        pytest.param("missing", "s3", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("gateway", ["1", "0"])
def test_secret_is_shown_nowhere(
    source: str,
    destination: str,
    gateway: str,
    storages: dict[str, Storage],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of each way that rclone is told the secret, and of a storage that cannot be reached."""
    make = Access.__init__

    def made(self: Access, users: Collection[str]) -> None:
        make(self, users)
        self.secret = SECRET

    monkeypatch.setattr(Access, "__init__", made)
    lines: list[bytes] = []
    take = LogParser.take

    def taken(parser: LogParser, line: bytes) -> None:
        lines.append(line)
        take(parser, line)

    monkeypatch.setattr(LogParser, "take", taken)
    caplog.set_level("DEBUG")
    one = storages["wsgidav" if source == "missing" else source]
    one.fill("/".join(filter(None, [one.base, "shown-nowhere"])), {"a": b"a", "b/c": b"c"})
    from_, to = one.endpoint("shown-nowhere"), storages[destination].endpoint("shown-nowhere-to")
    if source == "missing":
        from_["parameters"] = {**from_["parameters"], "url": "http://127.0.0.1:1"}
    settings = Settings.read(
        {"EFSS_TRANSFER_RUNTIME_DIR": str(tmp_path), "EFSS_TRANSFER_WEBDAV_GATEWAY": gateway}
    )
    engine = RcloneEngine(settings)
    ends = [Endpoint(it["type"], it["parameters"], it["path"]) for it in (from_, to)]
    asked = TransferRequest(ends[0], ends[1])
    with Watch(SECRET) as watch:
        events = list(engine.run(asked, context()))
    engine.close()
    last = events[-1]
    assert isinstance(last, Finished)
    is_missing = source == "missing"
    assert last.result.state is (State.FAILED if is_missing else State.SUCCEEDED), last
    assert watch.rclones
    assert lines
    assert watch.found == []
    for where in (b"\n".join(lines).decode(), caplog.text, repr(events)):
        assert SECRET not in where
        assert base64.b64encode(f"source:{SECRET}".encode()).decode() not in where


def test_other_local_process_is_refused_before_a_sites_proxy(tmp_path: Path, s3: Storage) -> None:
    (tmp_path / "run").mkdir()
    with held_source() as (slow, reading, released):
        hosts = {
            "slow.example": urlsplit(slow.parameters["url"]).port or 0,
            "objects": urlsplit(s3.parameters["endpoint"]).port or 0,
        }
        ends: list[dict[str, Any]] = [
            slow.endpoint("data", url="http://slow.example"),
            s3.endpoint("by-the-proxy", endpoint="http://objects"),
        ]
        with (
            forward_proxy(hosts) as proxy,
            service_process.function(
                tmp_path / "run", site={"egress_proxy": proxy.url}, WEBDAV_GATEWAY="1"
            ) as function,
        ):
            events = function.events({"source": ends[0], "destination": ends[1]})
            assert next(events)["event"] == "started"
            assert reading.wait(60)
            (rclone,) = function.daemons()
            port = guard_port(rclone)
            for given in ("", "Proxy-Authorization: Basic c291cmNlOmd1ZXNz\r\n"):
                for line in (
                    "GET http://secret.example/ HTTP/1.1",
                    "CONNECT secret.example:80 HTTP/1.1",
                ):
                    answer = answer_of(port, f"{line}\r\nHost: x\r\n{given}\r\n".encode())
                    assert answer.startswith(b"HTTP/1.1 407 "), answer
            released.set()
            last = list(events)[-1]
            assert (last["event"], last["state"]) == ("result", "succeeded")
            function.wait_clean()
    assert {one.host for one in proxy.requests} == set(hosts)
    # The site's proxy does not see the secret of the guard before it.
    assert {one.proxy_authorization for one in proxy.requests} == {None}


_TOKEN = b"""<?xml version="1.0"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>
<RequestSecurityTokenResponse><TokenType>t</TokenType><Lifetime><Created>2026-11-28T00:00:00Z</Created>
<Expires>2036-11-28T00:00:00Z</Expires></Lifetime><RequestedSecurityToken>
<BinarySecurityToken>token</BinarySecurityToken></RequestedSecurityToken>
</RequestSecurityTokenResponse></s:Body></s:Envelope>"""


def test_sign_in_that_knows_only_the_environments_proxy_is_served(
    tmp_path: Path, s3: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """rclone signs in to SharePoint with a client that it does not give the guard's secret."""
    cookies: list[str | None] = []

    def login(handler: http.server.BaseHTTPRequestHandler) -> None:
        http_servers.reply(handler, 200, _TOKEN, "application/soap+xml")

    def sharepoint(handler: http.server.BaseHTTPRequestHandler) -> None:
        path = handler.path.rstrip("/")
        if path.startswith("/_forms/"):
            handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
            handler.send_response(200)
            for cookie in ("rtFa=one", "FedAuth=two"):
                handler.send_header("Set-Cookie", cookie)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        cookies.append(handler.headers.get("Cookie"))
        if handler.command == "GET":
            http_servers.reply(handler, 200, b"text")
        elif path == "/dav/f.txt":
            http_servers.reply(handler, 207, http_servers.multistatus({path: 4}), "text/xml")
        else:
            shown = {"/dav/": 0, "/dav/f.txt": 4}
            http_servers.reply(handler, 207, http_servers.multistatus(shown), "text/xml")

    host = "login.microsoftonline.com"
    certificate(tmp_path / "key.pem", tmp_path / "ca.pem", host)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")
    (tmp_path / "run").mkdir()
    with (
        http_servers.misbehaving(login, tls) as signing_in,
        http_servers.misbehaving(sharepoint) as site,
        forward_proxy(
            {
                host: urlsplit(signing_in).port or 0,
                "sp.example.com": urlsplit(site).port or 0,
                "objects": urlsplit(s3.parameters["endpoint"]).port or 0,
            }
        ) as proxy,
        service_process.function(
            tmp_path / "run", site={"egress_proxy": proxy.url}, WEBDAV_GATEWAY="1"
        ) as function,
    ):
        end = {
            "type": "webdav",
            "parameters": {
                "url": "http://sp.example.com/dav",
                "vendor": "sharepoint",
                "user": "a",
                "pass": "b",
            },
            "path": "",
        }
        answer = function.copy(end, s3.endpoint("from-sharepoint", endpoint="http://objects"))
        assert answer.status_code == 200, answer.text
        function.wait_clean()
    assert list(s3.hashes("bucket/from-sharepoint")) == ["f.txt"]
    assert cookies
    assert all("FedAuth=two" in str(cookie) for cookie in cookies)
    assert {one.proxy_authorization for one in proxy.requests} == {None}
    assert "refused a local client" not in function.log.read_text()
