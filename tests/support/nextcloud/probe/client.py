"""HTTP client of the probe, and the form in which it records an answer."""

from __future__ import annotations

import base64
import http.client
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import quote, urlsplit

TOLD: Final = (
    "Allow",
    "Content-Range",
    "ETag",
    "Location",
    "OC-Checksum",
    "OC-ETag",
    "OC-FileId",
    "Retry-After",
    "WWW-Authenticate",
    "X-Nextcloud-Maintenance-Mode",
    "X-OC-CTime",
    "X-OC-MTime",
)
"""The headers whose presence is noted."""


class Site(Protocol):
    """A server, and what its administrator can do."""

    url: str
    user: str
    other_user: str
    account_password: str
    app_password: str

    def set_quota(self, size: int | None) -> None:
        """Give the account that many bytes."""

    def set_enabled(self, enabled: bool) -> None:
        """Disable the account, or enable it."""

    def set_maintenance(self, on: bool) -> None:
        """Begin or end maintenance."""

    def forgive(self) -> None:
        """Forget wrong passwords."""

    def share(self, path: str, kind: str, password: str = "") -> str:
        """Make a public link, for `read`, `write` or `drop`; its token."""

    def unshare(self, token: str) -> None:
        """Take a link back."""

    def wait_for(self, path: str, size: int) -> None:
        """Wait until so many bytes of a PUT have come, or, of -1, until it is over."""


@dataclass(frozen=True)
class Answer:
    """An answer, with its whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __str__(self) -> str:
        """The status, the exception's name, the headers that are there."""
        exception = re.search(rb"<s:exception>([^<]*)<", self.body)
        names = [exception[1].decode().rpartition("\\")[2]] if exception else []
        return " ".join(
            [str(self.status), *names, *(name for name in TOLD if name in self.headers)]
        )

    @property
    def etag(self) -> str:
        """The ETag, as it is sent back."""
        return self.headers.get("ETag", "")

    def find(self, pattern: str) -> list[str]:
        """Search the body for a pattern."""
        return re.findall(pattern, self.body.decode(errors="replace"))

    def find_pairs(self) -> list[tuple[str, str]]:
        """The properties of each propstat, and its status."""
        pattern = r"<d:propstat><d:prop>(.*?)</d:prop><d:status>HTTP/1.1 (.*?)</d:status>"
        return re.findall(pattern, self.body.decode(), re.DOTALL)


class Client:
    """One account's connection; paths without a slash are below a folder of the probe's own."""

    def __init__(self, site: Site, user: str | None = None, password: str | None = None) -> None:
        self.site = site
        at = urlsplit(site.url)
        self.address = (at.hostname or "", at.port or 80)
        self.user = site.user if user is None else user
        self.password = site.app_password if password is None else password
        self.files = f"/remote.php/dav/files/{site.user}"
        self.uploads = f"/remote.php/dav/uploads/{site.user}"

    def at(self, path: str) -> str:
        """The URL's path of a path."""
        return path if path.startswith("/") else f"{self.files}/probe/{path}".rstrip("/")

    def to(self, path: str) -> str:
        """The URL of a path, for Destination and If."""
        return self.site.url + quote(self.at(path))

    def authorization(self) -> dict[str, str]:
        """The sign-in; none if the password is empty."""
        if not self.password:
            return {}
        pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}

    def __call__(
        self, method: str, path: str, body: bytes | str | None = None, **headers: str | int
    ) -> Answer:
        """Ask; headers with _ for -."""
        return self.ask(method, quote(self.at(path), safe="/?=&%,"), body, **headers)

    def ask(
        self, method: str, target: str, body: bytes | str | None = None, **headers: str | int
    ) -> Answer:
        """Ask for a target that is quoted already."""
        sent = self.authorization()
        sent |= {name.replace("_", "-"): str(value) for name, value in headers.items()}
        connection = http.client.HTTPConnection(*self.address, timeout=60)
        try:
            content = body.encode() if isinstance(body, str) else body
            connection.request(method, target, content, sent)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def put_slowly(
        self,
        path: str,
        size: int,
        meanwhile: Callable[[], None],
        *,
        cut: bool = False,
        chunked: bool = False,
    ) -> int:
        """PUT zeros, with a pause after one half in which the server has it; the status, or 0
        where the connection is closed there.
        """
        head = "".join(f"{name}: {value}\r\n" for name, value in self.authorization().items())
        head += "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
        half = bytes(size // 2)

        def framed(piece: bytes) -> bytes:
            return b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece

        with socket.create_connection(self.address, timeout=30) as connection:
            first = f"PUT {quote(self.at(path))} HTTP/1.1\r\nHost: {self.address[0]}\r\n{head}\r\n"
            connection.sendall(first.encode() + b"\r\n" + framed(half))
            self.site.wait_for(self.at(path), len(half))
            meanwhile()
            if not cut:
                rest = bytes(size - size // 2)
                connection.sendall(framed(rest) + (b"0\r\n\r\n" if chunked else b""))
                return int(connection.recv(4096).split()[1])
        self.site.wait_for(self.at(path), -1)
        return 0
