"""A web server with published files, each of which can answer as a test says."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from support.http_servers import misbehaving
from support.outcomes import arrived
from support.storages import Storage, digest

TIME = 1_700_000_000
Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@dataclass
class Published:
    """Files by the paths of their URLs, and answers in place of some. `seen` are the requests, as
    method, path and headers.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fill(self, files: dict[str, bytes], below: str = "") -> dict[str, str]:
        """Publish files; their hashes by their names."""
        self.files |= {f"{below}/{path}": content for path, content in files.items()}
        return {path: digest(content) for path, content in files.items()}

    def at(self, path: str) -> str:
        """The URL of a path."""
        return f"{self.url}{path}"

    def read(self, path: str) -> list[str]:
        """The methods of the requests for a path."""
        return [method for method, target, _ in list(self.seen) if target.partition("?")[0] == path]

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Answer as the file's own answer says, or with the file."""
        path = handler.path.partition("?")[0]
        with self.lock:
            self.seen.append((handler.command, handler.path, dict(handler.headers.items())))
        answer = self.answers.get(path)
        if answer is not None:
            answer(handler)
        elif (content := self.files.get(path)) is None:
            send(handler, 404, b"nothing here")
        else:
            send_file(handler, content)


def send(
    handler: http.server.BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str
) -> None:
    """Send a whole answer; `_` in a header's name stands for `-`."""
    handler.send_response(status)
    for name, text in headers.items():
        handler.send_header(name.replace("_", "-"), text)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def send_file(handler: http.server.BaseHTTPRequestHandler, content: bytes, **more: str) -> None:
    """Send a file, or the part of it that Range asks for."""
    headers = {
        "Content_Type": "application/octet-stream",
        "ETag": f'"{digest(content)}"',
        "Last_Modified": formatdate(TIME, usegmt=True),
        **more,
    }
    found = re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", ""))
    if not found:
        send(handler, 200, content, **headers)
        return
    first = int(found[1])
    last = min(int(found[2] or len(content)), len(content) - 1)
    headers["Content_Range"] = f"bytes {first}-{last}/{len(content)}"
    send(handler, 206, content[first : last + 1], **headers)


def cut_after(content: bytes, count: int) -> Answer:
    """An answer that breaks off after so many bytes, unless it is asked for the rest."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        if "Range" in handler.headers:
            send_file(handler, content)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.send_header("ETag", f'"{digest(content)}"')
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content[:count])
        handler.close_connection = True

    return answer


def redirect(where: str, status: int = 302) -> Answer:
    """A redirect."""
    return lambda handler: send(handler, status, Location=where)


def page(handler: http.server.BaseHTTPRequestHandler) -> None:
    """A sign-in page in place of a file."""
    send(handler, 200, b"<html>Sign in</html>", Content_Type="text/html; charset=utf-8")


@contextmanager
def publishing(address: str = "127.0.0.1") -> Iterator[Published]:
    """A running server."""
    published = Published()
    with misbehaving(published.answer, address=address) as url:
        published.url = url
        yield published


def urls(files: list[dict[str, Any]], **parameters: Any) -> dict[str, Any]:
    """The endpoint of files that are listed in the request."""
    return {"type": "urls", "parameters": {"files": files, **parameters}, "path": ""}


def manifest(url: str, **parameters: Any) -> dict[str, Any]:
    """The endpoint of a list that is itself at a URL."""
    return {"type": "urls", "parameters": {"manifest": url, **parameters}, "path": ""}


def stored(storage: Storage, path: str) -> dict[str, str]:
    """The hashes of the files at a path. A server may finish to store a body that broke off after
    it was asked to remove it: such a part has a name of its own, and the next copy removes it.
    """
    found = arrived(storage, path)
    return {name: it for name, it in found.items() if not name.endswith(".partial")}
