"""A storage of the site's at a private host is no way for a caller to that host."""

from __future__ import annotations

import http.server
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support import http_servers, service_process
from support.contract import complaints
from support.service_process import Function
from support.storages import Storage

FILES = {"a.txt": b"a", "b/c.bin": os.urandom(70_000)}


@dataclass
class Counted:
    """A port before a storage's, which counts the connections that it passes on.

    `received` has the beginning of each piece that a client sent.
    """

    port: int
    connections: list[str] = field(default_factory=list)
    received: list[bytes] = field(default_factory=list)


@contextmanager
def counted(port: int) -> Iterator[Counted]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        counting = Counted(listener.getsockname()[1])
        opened: list[socket.socket] = []
        pumps: list[threading.Thread] = []

        def accept() -> None:
            with suppress(OSError):  # it is closed
                while True:
                    client, peer = listener.accept()
                    counting.connections.append(f"{peer[0]}:{peer[1]}")
                    server = socket.create_connection(("127.0.0.1", port))
                    opened.extend((client, server))
                    for one, other, note in (
                        (client, server, counting.received.append),
                        (server, client, lambda _: None),
                    ):
                        threading.Thread(target=pump, args=(one, other, note), daemon=True).start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield counting
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for connection in opened:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for pumping in pumps:
                pumping.join()
            for connection in opened:
                connection.close()


def pump(one: socket.socket, other: socket.socket, note: Callable[[bytes], None]) -> None:
    with suppress(OSError):
        while piece := one.recv(1 << 16):
            note(piece[:500])
            other.sendall(piece)
    for connection in (one, other):
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


@dataclass
class Inside:
    """A site with storages at 127.0.0.1, which it allows no caller to name.

    `stranger` is a server of a caller's at 127.0.0.2, to which the site lets callers connect. It
    redirects every request to the port of `archive`; `moved` is the site's own that does so.
    """

    function: Function
    webdav: Storage
    s3: Storage
    cloud: Counted
    archive: Counted
    stranger: str

    @property
    def url(self) -> str:
        """The URL of the storage `cloud`, as its site file has it."""
        return f"http://127.0.0.1:{self.cloud.port}"

    def refused(self, source: Any, destination: Any, *pointers: str) -> None:
        """The request is refused at these members, before any connection."""
        before = len(self.cloud.connections), len(self.archive.connections)
        answer = self.function.copy(source, destination)
        assert answer.status_code == 403, answer.text
        problem = answer.json()
        assert complaints("problem", problem) == []
        assert problem["code"] == "forbidden"
        assert [(it["pointer"], it["keyword"]) for it in problem["errors"]] == [
            (pointer, "policy") for pointer in pointers
        ]
        assert (len(self.cloud.connections), len(self.archive.connections)) == before


@pytest.fixture(scope="module")
def inside(
    tmp_path_factory: pytest.TempPathFactory, storages: dict[str, Storage]
) -> Iterator[Inside]:
    webdav, s3 = storages["wsgidav"], storages["s3"]
    folder = tmp_path_factory.mktemp("inside")
    (folder / "run").mkdir()
    with (
        counted(urlsplit(webdav.parameters["url"]).port or 0) as cloud,
        counted(urlsplit(s3.parameters["endpoint"]).port or 0) as archive,
        pytest.MonkeyPatch.context() as patch,
    ):

        def to_archive(handler: http.server.BaseHTTPRequestHandler) -> None:
            handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
            handler.send_response(307)
            handler.send_header("Location", f"http://127.0.0.1:{archive.port}/stolen")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        patch.setenv("CLOUD_PASSWORD", webdav.parameters["pass"])
        patch.setenv("ARCHIVE_KEY_ID", s3.parameters["access_key_id"])
        patch.setenv("ARCHIVE_SECRET", s3.parameters["secret_access_key"])
        with (
            http_servers.misbehaving(to_archive) as moved,
            http_servers.misbehaving(to_archive, address="127.0.0.2") as stranger,
        ):
            site = {
                "allow": {"networks": ["127.0.0.2/32"]},
                "storages": {
                    "cloud": {
                        "type": "webdav",
                        "parameters": {
                            **webdav.parameters,
                            "url": f"http://127.0.0.1:{cloud.port}",
                            "pass": {"env": "CLOUD_PASSWORD"},
                        },
                    },
                    "archive": {
                        "type": "s3",
                        "parameters": {
                            **s3.parameters,
                            "endpoint": f"http://127.0.0.1:{archive.port}",
                            "access_key_id": {"env": "ARCHIVE_KEY_ID"},
                            "secret_access_key": {"env": "ARCHIVE_SECRET"},
                        },
                    },
                    "moved": {"type": "webdav", "parameters": {"url": moved}},
                    "moved-page": {"type": "http", "parameters": {"url": moved}},
                },
            }
            with service_process.function(folder / "run", site=site) as running:
                yield Inside(running, webdav, s3, cloud, archive, stranger)


@pytest.fixture
def site(inside: Inside) -> Iterator[Inside]:
    yield inside
    inside.function.wait_clean()


def cloud(path: str) -> dict[str, Any]:
    return {"storage": "cloud", "path": path}


def archive(path: str) -> dict[str, Any]:
    return {"storage": "archive", "path": f"bucket/{path}"}


def test_named_storages_at_private_hosts_copy_both_ways(site: Inside) -> None:
    hashes = site.webdav.fill("private-up", FILES)
    up = site.function.copy(cloud("private-up"), archive("private-up"))
    assert up.status_code == 200, up.text
    assert site.s3.hashes("bucket/private-up") == hashes
    down = site.function.copy(archive("private-up"), cloud("private-down"))
    assert down.status_code == 200, down.text
    assert site.webdav.hashes("private-down") == hashes
    assert site.cloud.connections
    assert site.archive.connections


@pytest.mark.field_case("K6")
@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize("own", ["cloud", "archive"])
def test_caller_reaches_no_storages_host_beside_its_name(site: Inside, side: str, own: str) -> None:
    """The other end names a storage, of this host or of another port of it."""
    webdav, s3 = site.webdav, site.s3
    port = (site.cloud if own == "cloud" else site.archive).port
    url = f"http://127.0.0.1:{port}"
    ends: list[tuple[dict[str, Any], str]] = [
        # the same URL, and with other credentials
        (webdav.endpoint("x", url=url), "url"),
        (webdav.endpoint("x", url=url, user="mallory", **{"pass": "guess"}), "url"),
        # another port: the one that the storage itself listens at
        (webdav.endpoint("x"), "url"),
        (s3.endpoint("bucket/x"), "endpoint"),
        # other types, for either of the two storages
        (s3.endpoint("bucket/x", endpoint=url), "endpoint"),
        ({"type": "http", "parameters": {"url": url}, "path": "x"}, "url"),
        *(
            (
                {
                    "type": type_,
                    "parameters": {
                        "host": "127.0.0.1",
                        "port": port,
                        "user": "a",
                        "pass": "b",
                    },
                    "path": "x",
                },
                "host",
            )
            for type_ in ("sftp", "ftp")
        ),
    ]
    named = cloud("own") if own == "cloud" else archive("own")
    for end, member in ends:
        if end["type"] == "http" and side == "destination":
            continue  # http cannot be a destination, which another test shows
        pair = (end, named) if side == "source" else (named, end)
        site.refused(*pair, f"/{side}/parameters/{member}")


def test_request_that_names_no_storage_reaches_none(site: Inside) -> None:
    site.refused(
        site.webdav.endpoint("x", url=site.url),
        site.s3.endpoint("bucket/x", endpoint=f"http://127.0.0.1:{site.archive.port}"),
        "/source/parameters/url",
        "/destination/parameters/endpoint",
    )


@pytest.mark.parametrize("kind", ["webdav", "http", "s3", "swift", "moved", "moved-page"])
def test_redirect_does_not_reach_the_other_ends_storage(site: Inside, kind: str) -> None:
    """Only the end that names a storage connects there, whoever sends the other end there."""
    parameters: dict[str, dict[str, Any]] = {
        "webdav": {"url": site.stranger},
        "http": {"url": site.stranger},
        "s3": {**site.s3.parameters, "endpoint": site.stranger},
        "swift": {"auth": f"{site.stranger}/v1.0", "user": "a", "key": "b"},
    }
    end: dict[str, Any] = {"storage": kind, "path": "bucket/x"}
    if kind in parameters:
        end = {"type": kind, "parameters": parameters[kind], "path": "bucket/x"}
    refusal = f"refused a connection to 127.0.0.1:{site.archive.port}"
    before = site.function.log.read_text().count(refusal)
    answer = site.function.copy(end, archive("redirected"))
    assert answer.status_code == 403, answer.text
    problem = answer.json()
    assert (problem["code"], problem["result"]["errors"][0]["side"]) == ("forbidden", "source")
    assert site.function.log.read_text().count(refusal) == before + 1
    assert not [piece for piece in site.archive.received if b"stolen" in piece]
    assert site.s3.hashes("bucket/redirected") == {}


def test_ftp_storage_at_a_private_host_has_its_data_connections(
    tmp_path: Path, storages: dict[str, Storage], monkeypatch: pytest.MonkeyPatch
) -> None:
    ftp = storages["ftp"]
    hashes = ftp.fill("/".join(filter(None, [ftp.base, "private-ftp"])), FILES)
    monkeypatch.setenv("FTP_PASSWORD", ftp.parameters["pass"])
    own = {"type": "ftp", "parameters": {**ftp.parameters, "pass": {"env": "FTP_PASSWORD"}}}
    (tmp_path / "run").mkdir()
    site = {"storages": {"drop": own}}
    with service_process.function(tmp_path / "run", site=site) as function:
        ends = [
            {"storage": "drop", "path": ftp.endpoint(path)["path"]}
            for path in ("private-ftp", "private-ftp-to")
        ]
        answer = function.copy(*ends)
        assert answer.status_code == 200, answer.text
        function.wait_clean()
    assert ftp.hashes(ends[1]["path"]) == hashes
