"""A WebDAV server that the caller names, and a new folder on it that is removed afterwards."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote, unquote, urljoin, urlsplit
from xml.etree import ElementTree

import requests

USER: Final = "EFSS_BENCH_USER"
PASSWORD: Final = "EFSS_BENCH_PASSWORD"
TOKEN: Final = "EFSS_BENCH_TOKEN"
_SECONDS: Final = 600


@dataclass(frozen=True)
class NamedServer:
    """URL, vendor and credential of a WebDAV server."""

    url: str
    vendor: str
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @classmethod
    def of(cls, url: str, vendor: str, environment: Mapping[str, str]) -> Self:
        """Read the credential from the environment. Raises SystemExit if it is missing."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise SystemExit("scripts/bench: --server must be an HTTP URL without a user")
        user, password = environment.get(USER, ""), environment.get(PASSWORD, "")
        token = environment.get(TOKEN, "")
        if not token and not (user and password):
            raise SystemExit(
                f"scripts/bench: --server needs {USER} and {PASSWORD}, or {TOKEN}, "
                "in the environment"
            )
        if token:
            user = password = ""
        return cls(url.rstrip("/"), vendor, user, password, token)

    @property
    def sign_in(self) -> str:
        """How the requests are authenticated."""
        return "bearer token" if self.token else "user and password"

    def endpoint(self, path: str) -> dict[str, Any]:
        """An endpoint of a request to the service."""
        credential = (
            {"bearer_token": self.token}
            if self.token
            else {"user": self.user, "pass": self.password}
        )
        parameters = {"url": self.url, "vendor": self.vendor, **credential}
        return {"type": "webdav", "parameters": parameters, "path": path}

    def networks(self) -> list[str]:
        """Networks of its addresses, which the service must allow if they are not public."""
        parts = urlsplit(self.url)
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
        return sorted({str(address[4][0]) for address in found})

    def product(self) -> str:
        """Name and version that the server reports; empty if it reports none."""
        parts = urlsplit(self.url)
        folders = parts.path.split("/")
        with self._session() as session:
            for count in range(1, len(folders)):
                file = "/".join([*folders[:count], "status.php"])
                try:
                    answer = session.get(f"{parts.scheme}://{parts.netloc}{file}", timeout=20)
                    told = answer.json()
                    return f"{told['productname']} {told['versionstring']}"
                except (requests.RequestException, ValueError, KeyError, TypeError):
                    continue
        return ""

    @contextmanager
    def work_folder(self) -> Iterator[str]:
        """A new folder with a random name; removed afterwards with all that is in it."""
        name = f"efss-bench-{secrets.token_hex(8)}"
        with self._session() as session:
            answer = session.request("MKCOL", self._url(name), timeout=_SECONDS)
        if answer.status_code != 201:
            raise SystemExit(
                f"scripts/bench: cannot create a folder at {self.url}: {answer.status_code}"
            )
        try:
            yield name
        finally:
            self.remove(name)

    def remove(self, path: str) -> None:
        """Remove a folder, also from Nextcloud's trash bin; says so if that is impossible."""
        with self._session() as session:
            try:
                answer = session.delete(self._url(path), timeout=_SECONDS)
                failed = "" if answer.status_code in (204, 404) else f" ({answer.status_code})"
                self._purge(session, path.rpartition("/")[2])
            except requests.RequestException as error:
                failed = f" ({type(error).__name__})"
        if failed:
            print(f"scripts/bench: remove {self._url(path)} yourself{failed}", file=sys.stderr)

    def obscured(self, binary: Path) -> str:
        """The password as rclone's configuration has it."""
        if not self.password:
            return ""
        command = [str(binary), "obscure", "-"]
        return subprocess.run(
            command, input=self.password, capture_output=True, text=True, check=True, env={}
        ).stdout.strip()

    def redacted(self, text: str) -> str:
        """Text without the credential."""
        for secret in (self.password, self.token):
            text = text.replace(secret, "***") if secret else text
        return text

    def _purge(self, session: requests.Session, name: str) -> None:
        before, found, after = self.url.partition("/dav/files/")
        if not found:
            return
        trash = f"{before}/dav/trashbin/{after.partition('/')[0]}/trash/"
        answer = session.request("PROPFIND", trash, headers={"Depth": "1"}, timeout=_SECONDS)
        if answer.status_code != 207:
            return
        for href in ElementTree.fromstring(answer.content).iter("{DAV:}href"):  # noqa: S314
            last = unquote((href.text or "").rstrip("/").rpartition("/")[2])
            if last.startswith(f"{name}.d"):
                session.delete(urljoin(trash, href.text or ""), timeout=_SECONDS)

    def _url(self, path: str) -> str:
        return f"{self.url}/{quote(path)}"

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.verify = os.environ.get("SSL_CERT_FILE") or True
        if self.token:
            session.headers["Authorization"] = f"Bearer {self.token}"
        else:
            session.auth = (self.user, self.password)
        return session
