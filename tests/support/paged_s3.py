"""An S3 server with as many objects as it likes, whose later pages of a listing may be none.

with paged_s3.serving(1_500) as paged:
    paged.later = b""
    function.copy(paged.endpoint("data"), …)
"""

from __future__ import annotations

import hashlib
import http.server
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

from support.http_servers import misbehaving

_WRITTEN = "2026-01-02T03:04:05.000Z"


@dataclass
class PagedS3:
    """The server. `later` is the answer to each request for a page after the first; None lets it
    answer as it should. It lists `most` entries, and tells of no others, whatever is asked for.
    `folders` are those that a listing by folder has.
    """

    keys: list[str]
    later: bytes | None = None
    most: int | None = None
    folders: tuple[str, ...] = ()
    url: str = ""
    seen: list[str] = field(default_factory=list)
    """The listings that were asked for."""

    def endpoint(self, path: str) -> dict[str, Any]:
        """As a request names it."""
        parameters = {
            "provider": "Other",
            "endpoint": self.url,
            "access_key_id": "key",
            "secret_access_key": "secret",
            "region": "us-east-1",
        }
        return {"type": "s3", "parameters": parameters, "path": f"bucket/{path}"}

    def hashes(self, folder: str, chosen: str) -> dict[str, str]:
        """The SHA-256 of each object whose key ends so, by its path below a folder."""
        return {
            key.removeprefix(f"{folder}/"): hashlib.sha256(key.encode()).hexdigest()
            for key in self.keys
            if key.endswith(chosen)
        }

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Answer one request; an object's content is its key."""
        path, _, query = handler.path.partition("?")
        key = unquote(path).strip("/").partition("/")[2]
        if not key:
            self.seen.append(query)
            asked = {name: values[0] for name, values in parse_qs(query).items()}
            is_later = "marker" in asked or "continuation-token" in asked
            later = self.later if is_later else None
            _reply(handler, 200, self._page(asked) if later is None else later)
        elif key in self.keys:
            _reply(handler, 200, key.encode())
        else:
            _reply(handler, 404, b"")

    def _page(self, asked: dict[str, str]) -> bytes:
        prefix, after = asked.get("prefix", ""), asked.get("marker", "")
        after = asked.get("continuation-token", after)
        inside = [key for key in self.keys if key.startswith(prefix) and key > after]
        below = [it for it in self.folders if "delimiter" in asked and it.startswith(prefix)]
        below = [folder for folder in below if folder != prefix]
        inside = [key for key in inside if not key.startswith(tuple(below))]
        if self.most is not None:
            inside = shown = inside[: self.most]
        else:
            shown = inside[: int(asked.get("max-keys", 1_000))]
        entries = "".join(
            f"<Contents><Key>{key}</Key><LastModified>{_WRITTEN}</LastModified>"
            f"<ETag>&quot;{_md5(key)}&quot;</ETag><Size>{len(key)}</Size></Contents>"
            for key in shown
        )
        end = "<IsTruncated>false</IsTruncated>"
        if len(shown) < len(inside):
            end = (
                f"<IsTruncated>true</IsTruncated><NextMarker>{shown[-1]}</NextMarker>"
                f"<NextContinuationToken>{shown[-1]}</NextContinuationToken>"
            )
        entries += "".join(
            f"<CommonPrefixes><Prefix>{it}</Prefix></CommonPrefixes>" for it in below
        )
        return f"<ListBucketResult>{entries}{end}</ListBucketResult>".encode()


def _md5(key: str) -> str:
    return hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()


def _reply(handler: http.server.BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.send_header("Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT")
    handler.send_header("ETag", f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"')
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


@contextmanager
def serving(count: int) -> Iterator[PagedS3]:
    """The server, with so many objects in the folder `data`."""
    paged = PagedS3([f"data/{number:05}.bin" for number in range(count)])
    with misbehaving(paged.answer) as url:
        paged.url = url
        yield paged
