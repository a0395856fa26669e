"""XRootD, a storage of the grid: WebDAV over TLS with third-party copies, macaroons and checksums.

It is Debian's, with a certificate that it signs itself, and a folder that it shows.
"""

from __future__ import annotations

import base64
import hmac
import os
import pwd
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from support.held_port import held_port
from support.nginx import tool
from support.storages import Storage, on_disk

USER: Final = "nobody"
"""Who it runs as where the tests are root's, which XRootD refuses to be."""
EVERYTHING: Final = "READ_METADATA,UPLOAD,DOWNLOAD,DELETE,MANAGE,UPDATE_METADATA,LIST"

_TRIES: Final = 3
_SECONDS: Final = 60
_ANSWER_SECONDS: Final = 10.0
_HUNG_SECONDS: Final = 15.0
_DUMP_SECONDS: Final = 1.0  # from the signal until the shell knows of the end
_SUPERVISED: Final = """
while :; do
    "$@"
    echo "$?" >> ended
    sleep 0.2
done
"""
_CONFIGURATION: Final = """
all.export /
all.sitename {site}
all.adminpath {folder}/admin
all.pidpath {folder}/admin
oss.localroot {folder}/data
xrd.port {native}
xrd.network nodnr
if exec xrootd
xrd.protocol http:{port} libXrdHttp.so
fi
xrd.tls {folder}/host.pem {folder}/host.key
xrd.tlsca certfile {folder}/host.pem
xrootd.chksum max 64 adler32 md5
http.exthandler xrdtpc libXrdHttpTPC.so
http.exthandler xrdmacaroons libXrdMacaroons.so
http.header2cgi Authorization authz
macaroons.secretkey {folder}/secret
ofs.authorize 1
ofs.authlib libXrdMacaroons.so
acc.authdb {folder}/authdb
"""


@dataclass
class XRootD:
    """A running server. `data` is the folder that it shows."""

    folder: Path
    port: int
    site: str
    secret: bytes

    @property
    def data(self) -> Path:
        """What it shows."""
        return self.folder / "data"

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"https://localhost:{self.port}/"

    def token(self, activities: str = EVERYTHING, path: str = "/", seconds: float = 3600) -> str:
        """A macaroon of this server's, in the form of libmacaroons."""
        before = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))
        key = hmac.digest(b"macaroons-key-generator", self.secret, "sha256")
        identifier = secrets.token_hex(8).encode()
        signature = hmac.digest(key, identifier, "sha256")
        packets = [_packet(b"location", self.site.encode()), _packet(b"identifier", identifier)]
        for caveat in ("name:alice", f"activity:{activities}", f"path:{path}", f"before:{before}"):
            signature = hmac.digest(signature, caveat.encode(), "sha256")
            packets.append(_packet(b"cid", caveat.encode()))
        packets.append(_packet(b"signature", signature))
        return base64.urlsafe_b64encode(b"".join(packets)).decode().rstrip("=")

    def storage(self, token: str | None = None) -> Storage:
        """How a request names it."""
        parameters = {"url": self.url, "bearer_token": token or self.token()}
        return on_disk("webdav", self.data, parameters, self.own)

    def own(self) -> None:
        """Let the server write what a test has stored beside it."""
        _own(self.data)

    @property
    def crashes(self) -> int:
        """How often it has broken down, and was started again."""
        ended = self.folder / "ended"
        return len(ended.read_text().split()) if ended.exists() else 0

    def kill(self) -> None:
        """End the server as a crash does. It is started again."""
        for process in self._processes():
            process.kill()

    def hang(self) -> None:
        """Let the server answer nothing any more."""
        for process in self._processes():
            process.suspend()

    def _processes(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter(["name", "cmdline"]):
            is_ours = str(self.folder / "xrootd.cfg") in (process.info["cmdline"] or ())
            if is_ours and process.info["name"] == "xrootd":
                yield process

    def wait_up(self) -> None:
        """Wait until it serves again. One that hangs is ended, which counts as a breakdown."""
        until = time.monotonic() + _SECONDS
        patience = time.monotonic() + _HUNG_SECONDS
        while not self.is_up():
            assert time.monotonic() < until, self.received()
            if time.monotonic() > patience:
                self.kill()
                patience = time.monotonic() + _HUNG_SECONDS
            time.sleep(0.1)

    def is_up(self) -> bool:
        """Whether it serves, also after it was started again; its log begins anew at midnight."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        address = ("127.0.0.1", self.port)
        with suppress(OSError), socket.create_connection(address, _ANSWER_SECONDS) as connection:
            context.wrap_socket(connection).close()
            return True
        return False

    def received(self) -> str:
        """Its log."""
        return "\n".join(it.read_text("utf-8", "replace") for it in self.folder.rglob("log"))


@dataclass
class Grid:
    """A source and a destination, with the certificate of both."""

    source: XRootD
    destination: XRootD
    signed: Path

    @property
    def crashes(self) -> int:
        """How often either of them has broken down."""
        return self.source.crashes + self.destination.crashes

    def settled_crashes(self, before: int) -> bool:
        """Whether one has broken down since there were so many, once both serve again."""
        time.sleep(_DUMP_SECONDS)
        for server in (self.source, self.destination):
            server.wait_up()
        return self.crashes > before


def _packet(key: bytes, value: bytes) -> bytes:
    content = key + b" " + value + b"\n"
    return b"%04x" % (len(content) + 4) + content


def _own(folder: Path) -> None:
    if os.getuid() == 0:
        entry = pwd.getpwnam(USER)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, entry.pw_uid, entry.pw_gid)


@contextmanager
def serving(key: Path, signed: Path) -> Iterator[XRootD]:
    """A server with a certificate of localhost, which it trusts as that of other servers too.

    Debian's 5.5.3 breaks down now and then, so it is started again: see `XRootD.crashes`.
    """
    for _ in range(_TRIES):
        folder = Path(tempfile.mkdtemp(prefix="xrootd-"))  # not pytest's, which only root enters
        with held_port() as port, held_port() as native:
            running = _prepared(folder, key, signed, port, native)
            process = _started(folder)
            try:
                if _is_up(running, process):
                    yield running
                    return
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                told = running.received()
                shutil.rmtree(folder, ignore_errors=True)
    raise AssertionError(told)


def _started(folder: Path) -> subprocess.Popen[bytes]:
    command = ["/bin/sh", "-c", _SUPERVISED, "sh"]
    command += [tool("xrootd"), "-c", str(folder / "xrootd.cfg"), "-l", str(folder / "log")]
    if os.getuid() == 0:
        command += ["-R", USER]
    with (folder / "output").open("wb") as output:
        return subprocess.Popen(
            command, stdout=output, stderr=output, cwd=folder, start_new_session=True
        )


def _prepared(folder: Path, key: Path, signed: Path, port: int, native: int) -> XRootD:
    folder.chmod(0o755)
    for name in ("data", "admin"):
        (folder / name).mkdir()
    shutil.copy(key, folder / "host.key")
    shutil.copy(signed, folder / "host.pem")
    (folder / "host.key").chmod(0o400)
    secret = secrets.token_bytes(64)
    written = base64.encodebytes(secret)
    (folder / "secret").write_bytes(written)
    (folder / "secret").chmod(0o400)
    (folder / "authdb").write_text("\n")
    site = f"site-{folder.name}"
    (folder / "xrootd.cfg").write_text(
        _CONFIGURATION.format(folder=folder, site=site, port=port, native=native)
    )
    _own(folder)
    return XRootD(folder, port, site, secret)


def _is_up(running: XRootD, process: subprocess.Popen[bytes]) -> bool:
    """Whether it serves, and has not ended: rarely it does so by itself."""
    until = time.monotonic() + _SECONDS
    while process.poll() is None and not running.crashes and time.monotonic() < until:
        if running.is_up():
            return True
        time.sleep(0.1)
    return False
