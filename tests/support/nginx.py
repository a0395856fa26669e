"""Debian's nginx with the project's own `deploy/nginx.conf`, in front of whatever listens."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from support.receivers import certificates
from support.storages import ROOT

FILE = ROOT / "deploy" / "nginx.conf"
NAME = "transfer.example.org"
# Where nginx's own `nginx.conf` would include the site's file. Whoever runs the tests is
# whom its workers run as.
_AROUND = """
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
daemon off;
worker_processes 2;
user {user};
events {{ worker_connections 512; }}
http {{
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u;
    scgi_temp_path {folder}/s;
    # As Debian's nginx.conf has them, so that ours must say otherwise.
    gzip on;
    ssl_protocols TLSv1 TLSv1.1 TLSv1.2 TLSv1.3;
    access_log {folder}/other.log;
    types {{ application/json json; }}
    include {folder}/site.conf;
}}
"""


@cache
def tool(name: str) -> str:
    """The path of a program that `scripts/tools` finds, or brings."""
    found = subprocess.run(
        [ROOT / "scripts" / "tools", name], stdout=subprocess.PIPE, text=True, check=True
    )
    return found.stdout.strip()


@dataclass
class Answer:
    """What came back over a connection of its own."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Gateway:
    """A running nginx."""

    port: int
    metrics_port: int
    folder: Path
    authority: Path

    def connect(self, name: str = NAME, trust: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """A connection of TLS, for a host of that name."""
        plain = socket.create_connection(("127.0.0.1", self.port), 60)
        # As HTTP's libraries do: otherwise a request waits for the handshake's acknowledgement.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            trust = trust or ssl.create_default_context(cafile=str(self.authority))
            return trust.wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise

    def send(self, raw: bytes) -> Answer:
        """Send these bytes over a new connection; the first answer that comes."""
        with self.connect() as connection:
            connection.sendall(raw)
            return read(connection)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask for exactly this path."""
        return self.send(request(method, path, body, headers or {}))

    def logged(self, answer: Answer) -> dict[str, Any]:
        """The line of the access log about the request that was answered so."""
        number = answer.headers["x-request-id"]
        found: list[dict[str, Any]] = []

        def there() -> bool:
            # It is written after the answer.
            lines = (self.folder / "access.log").read_text().splitlines()
            found[:] = [json.loads(line) for line in lines if number in line]
            return bool(found)

        until(there)
        [line] = found
        return line

    def numbers(self) -> str:
        """What Prometheus reads."""
        with socket.create_connection(("127.0.0.1", self.metrics_port), 60) as connection:
            connection.sendall(request("GET", "/metrics", b"", {}))
            answer = read(connection)
        assert answer.status == 200
        return answer.body.decode()


def request(method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A request as bytes: nothing is put right on the way, as a library would."""
    lines = {"Host": NAME, "Connection": "close", **headers}
    if method == "POST" and "Transfer-Encoding" not in lines:
        lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), **lines}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def head_of(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The status, the headers by their names in small letters, and what came after them."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        assert piece, f"the connection ended after {received!r}"
        received += piece
    head, _, rest = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        assert name.lower() not in headers, f"{name} came twice"
        headers[name.lower()] = value
    return int(first.split()[1]), headers, rest


def read(connection: socket.socket) -> Answer:
    """One answer, to its end."""
    status, headers, body = head_of(connection)
    length = headers.get("content-length")
    while length is None or len(body) < int(length):
        piece = connection.recv(65536)
        if not piece:
            break
        body += piece
    if headers.get("transfer-encoding") == "chunked":
        body = b"".join(re.findall(rb"[0-9a-f]+\r\n(.*?)\r\n(?=[0-9a-f])", body, re.DOTALL))
    return Answer(status, headers, body)


def _replaced(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        assert old in text, f"deploy/nginx.conf has no {old!r}"
        text = text.replace(old, new)
    return text


@contextmanager
def gateway(
    folder: Path, upstream: Path, changes: Mapping[str, str] | None = None, file: Path = FILE
) -> Iterator[Gateway]:
    """nginx with the project's file, on ports that the kernel chose, before that socket.

    Only what is this machine's is replaced in the file, and what `changes` says.
    """
    folder.mkdir()
    authority, _ = certificates(folder / "tls", NAME)
    # nginx takes over listening sockets from the one whom it replaces, told in a variable:
    # so nobody can take the ports in between.
    with (
        socket.create_server(("127.0.0.1", 0), backlog=256) as tls,
        socket.create_server(("127.0.0.1", 0), backlog=16) as metrics,
    ):
        ports = tls.getsockname()[1], metrics.getsockname()[1]
        text = _replaced(
            re.sub(r"^    listen \[::\].*\n", "", file.read_text(), flags=re.MULTILINE),
            {
                "listen 443 ": f"listen 127.0.0.1:{ports[0]} ",
                "127.0.0.1:9464": f"127.0.0.1:{ports[1]}",
                "/run/efss-transfer.sock": str(upstream),
                "/etc/ssl/efss-transfer/fullchain.pem": f"{folder}/tls/server.pem",
                "/etc/ssl/efss-transfer/privkey.pem": f"{folder}/tls/server.pem",
                "/var/log/nginx/efss-transfer.log": f"{folder}/access.log",
                **(changes or {}),
            },
        )
        (folder / "site.conf").write_text(text)
        user = subprocess.run(
            ["id", "-un"], stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()
        (folder / "nginx.conf").write_text(_AROUND.format(folder=folder, user=user))
        command = [tool("nginx"), "-p", str(folder), "-e", "stderr", "-c", f"{folder}/nginx.conf"]
        subprocess.run([*command, "-t", "-q"], check=True)
        process = subprocess.Popen(
            command,
            env={"NGINX": f"{tls.fileno()};{metrics.fileno()};"},
            pass_fds=(tls.fileno(), metrics.fileno()),
        )
    try:
        yield Gateway(*ports, folder, authority)
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def until(condition: Any, seconds: float = 20) -> None:
    """Wait until it is so; fail if it is not after that long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not become so"
        time.sleep(0.05)
