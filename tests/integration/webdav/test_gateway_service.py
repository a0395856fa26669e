"""Transfers through the service with its WebDAV gateway; contents are compared by hash."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from support import faulty_webdav as faulty
from support import http_servers, service_process
from support.certificates import certificate
from support.faulty_webdav import NEXTCLOUD, Faulty, sabre, status
from support.service_process import Function
from support.storages import Storage, digest

LOGIN = re.compile(rb"(source|destination|both|either):([0-9a-f]{32})@127\.0\.0\.1")
"""A user and the secret of a guard, as rclone's memory has them."""


def test_files_arrive_whole_between_two_webdav_servers(
    function: Function, storages: dict[str, Storage]
) -> None:
    files = {"a.txt": b"a", "empty": b"", "deep/b c%.bin": os.urandom(3_000_000), "ü/🎉": b"x"}
    source, destination = storages["wsgidav"], storages["rclone"]
    expected = source.fill("gateway-from", files)
    answer = function.copy(
        source.endpoint("gateway-from"),
        destination.endpoint("gateway/to"),
        options={"verify": "download"},
    )
    assert answer.status_code == 200, answer.text
    assert destination.hashes("gateway/to") == expected
    again = function.copy(source.endpoint("gateway-from"), destination.endpoint("gateway/to"))
    assert again.json()["totals"]["files"]["skipped"] == len(files)


def test_server_copies_by_itself_where_both_ends_are_one(function: Function, dav: Faulty) -> None:
    # The server knows no COPY: then the files take the way through rclone, and arrive.
    expected = dav.fill("from", {"a": b"1", "b/c": b"22"})
    answer = function.copy(dav.endpoint("from"), dav.endpoint("to"))
    assert dav.seen("COPY")
    assert answer.status_code == 200 or answer.json()["code"] == "unsupported"
    if answer.status_code == 200:
        assert dav.hashes("to") == expected


def test_credential_is_not_in_the_memory_of_rclone(
    function: Function, dav: Faulty, s3: Storage
) -> None:
    nextcloud = dav.nextcloud
    nextcloud.fill("from", {"f.bin": os.urandom(1_000_000)})
    dav.fail("GET", "*", faulty.stall(200_000))
    request = {"source": nextcloud.endpoint("from"), "destination": s3.endpoint("memory")}
    sending = threading.Thread(target=lambda: list(function.events(request)), daemon=True)
    sending.start()
    while not dav.seen("GET"):
        sending.join(0.05)
        assert sending.is_alive()
    secret = str(nextcloud.parameters["pass"]).encode()
    rclones = function.daemons()
    assert rclones
    logins: set[tuple[bytes, bytes]] = set()
    for process in rclones:
        held = memory(process)
        logins |= set(LOGIN.findall(held))
        # So that the search is known to find what is there.
        assert str(s3.parameters["secret_access_key"]).encode() in held
        assert secret not in held
    assert all("basic" in one.headers["authorization"].lower() for one in dav.seen())
    assert logins
    before = len(dav.seen())
    guards = listening_ports(function)
    assert guards
    for port in guards:
        assert reach(port, b"source.efss-gateway.invalid") is None
        # Nor would it help to know the guard's secret: the gateways' names are random.
        for user, password in logins:
            for name in (b"source", b"to", b"destination", b"gateway"):
                host = name + b".efss-gateway.invalid"
                assert reach(port, host, user, password) not in (None, 0)  # RFC 1928: succeeded
    assert len(dav.seen()) == before
    dav.heal()
    dav.ended.set()
    sending.join(60)


def listening_ports(function: Function) -> list[int]:
    """The ports of the service's processes, without the one of its door."""
    root = psutil.Process(function.process.pid)
    sockets = [it for one in (root, *root.children()) for it in one.net_connections("inet")]
    door = int(function.url.rpartition(":")[2])
    return [it.laddr.port for it in sockets if it.status == "LISTEN" and it.laddr.port != door]


def reach(port: int, host: bytes, user: bytes = b"", password: bytes = b"") -> int | None:
    """The guard's reply to a process that asks it for a host; None if it is not admitted."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(b"\x05\x01\x02" if user else b"\x05\x01\x00")
        if connection.recv(2) == b"\x05\xff":
            return None
        login = b"".join(bytes([len(it)]) + it for it in (user, password))
        connection.sendall(b"\x01" + login)
        assert connection.recv(2) == b"\x01\x00"
        connection.sendall(b"\x05\x01\x00\x03" + bytes([len(host)]) + host + b"\x00\x50")
        return connection.recv(10)[1]


def memory(process: psutil.Process) -> bytes:
    """All that a process can write to."""
    pieces = []
    maps = Path(f"/proc/{process.pid}/maps").read_text("ascii").splitlines()
    with Path(f"/proc/{process.pid}/mem").open("rb", buffering=0) as file:
        for line in maps:
            span, rights = line.split()[:2]
            begin, end = (int(part, 16) for part in span.split("-"))
            if rights.startswith("rw") and end - begin < 1 << 30:
                file.seek(begin)
                try:
                    pieces.append(file.read(end - begin))
                except OSError:
                    continue
    return b"".join(pieces)


@pytest.mark.field_case("K13")
def test_folder_that_answers_with_a_login_page_is_no_success(
    function: Function, dav: Faulty, s3: Storage
) -> None:
    dav.fill("data", {"a": b"1", "sub/b": b"22"})
    dav.rewrite = lambda path, body: b"<html>Log in" if path == "/data/sub" else body
    answer = function.copy(dav.endpoint("data"), s3.endpoint("login"), options={"attempts": 1})
    assert answer.status_code != 200
    (error,) = answer.json()["result"]["errors"]
    assert (error["code"], error["side"]) == ("unsupported", "source")
    assert "an HTML page" in answer.text


@pytest.mark.parametrize("code", [413, 500, 507])
def test_refused_upload_does_not_cost_the_old_file(
    code: int, function: Function, dav: Faulty, s3: Storage
) -> None:
    s3.fill(f"bucket/new{code}", {"f": b"new and longer"})
    dav.fill("to", {"f": b"old"})
    dav.fail("PUT", "*", status(code))
    answer = function.copy(s3.endpoint(f"new{code}"), dav.endpoint("to"), options={"attempts": 1})
    assert answer.status_code != 200
    assert dav.hashes("to") == {"f": digest(b"old")}


def test_servers_words_and_their_code_reach_the_caller(
    function: Function, dav: Faulty, s3: Storage
) -> None:
    s3.fill("bucket/quota", {"f": b"x"})
    exception = "Sabre\\DAV\\Exception\\InsufficientStorage"
    dav.fail("PUT", "*", sabre(507, exception, "Insufficient space in /f, 1 required"))
    answer = function.copy(
        s3.endpoint("quota"), dav.nextcloud.endpoint("to"), options={"attempts": 1}
    )
    assert answer.json()["code"] == "quota_exceeded"
    assert "Insufficient space" in answer.text


@pytest.mark.field_case("J4")
def test_small_files_make_each_folder_once(function: Function, dav: Faulty, s3: Storage) -> None:
    files = {f"d{number % 5}/f{number}": b"%d" % number for number in range(100)}
    expected = s3.fill("bucket/small", files)
    answer = function.copy(
        s3.endpoint("small"), dav.nextcloud.endpoint("a/b"), options={"transfers": 16}
    )
    assert answer.status_code == 200, answer.text
    assert dav.nextcloud.hashes("a/b") == expected
    assert len(dav.seen("PUT")) == 100
    made = [request.path for request in dav.seen("MKCOL")]
    assert len(made) <= 8
    asked = Counter(one.path.removeprefix(f"{NEXTCLOUD}/a/b") for one in dav.seen("PROPFIND"))
    # Each folder is listed in the end, to confirm the uploads.
    assert {path: asked.pop(path) for path in [f"/d{n}" for n in range(5)]} == dict.fromkeys(
        [f"/d{n}" for n in range(5)], 1
    )
    assert asked.total() <= 3


@pytest.mark.parametrize("verify", ["none", "size"])
def test_source_folder_is_listed_once_and_again_to_verify(
    verify: str, function: Function, dav: Faulty, s3: Storage
) -> None:
    files = {f"d{number % 7}/f{number}": b"%d" % number for number in range(50)}
    expected = dav.fill(f"once/{verify}", files)
    source, destination = dav.endpoint(f"once/{verify}"), s3.endpoint(f"once/{verify}")
    answer = function.copy(source, destination, options={"verify": verify})
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/once/{verify}") == expected
    asked = [one.path for one in dav.seen("PROPFIND") if one.headers["depth"] == "1"]
    each = Counter(path for path in asked if f"once/{verify}/d" in path)
    assert set(each.values()) == {1 if verify == "none" else 2}
    assert len(each) == 7


def test_slow_listing_that_the_probe_does_not_wait_for_is_used_by_the_copy(
    function: Function, dav: Faulty, s3: Storage
) -> None:
    files = {f"d{number % 7}/f{number}": b"%d" % number for number in range(50)}
    expected = dav.fill("slow", files)

    def slowly(path: str, body: bytes) -> bytes:
        if "/slow/d" in path:
            time.sleep(2.5)  # the probe takes 2 s at most
        return body

    dav.rewrite = slowly
    answer = function.copy(dav.endpoint("slow"), s3.endpoint("slow"))
    assert answer.status_code == 200, answer.text
    assert s3.hashes("bucket/slow") == expected
    asked = [one.path for one in dav.seen("PROPFIND") if one.headers["depth"] == "1"]
    assert Counter(path for path in asked if "/slow/d" in path) == {
        f"/slow/d{number}": 1 for number in range(7)
    }


def test_redirect_to_where_the_site_allows_nothing_is_not_followed(
    function: Function, dav: Faulty, s3: Storage
) -> None:
    # Private, and so allowed by no site that does not say so.
    dav.fail("*", "*", status(307, Location="http://10.1.2.3/data/"))
    answer = function.copy(dav.endpoint("data"), s3.endpoint("denied"), options={"attempts": 1})
    assert answer.status_code == 403, answer.text
    assert answer.json()["code"] == "forbidden"


@pytest.mark.parametrize("is_trusted", [True, False])
def test_operators_certificates_are_trusted_and_no_others(
    is_trusted: bool, tmp_path: Path, s3: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, authority = tmp_path / "key.pem", tmp_path / "ca.pem"
    certificate(key, authority)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    (tmp_path / "run").mkdir()
    with (
        http_servers.tls_source(authority, key) as url,
        service_process.function(tmp_path / "run", WEBDAV_GATEWAY="1") as running,
    ):
        url = url.replace("127.0.0.1", "localhost")
        source = {"type": "webdav", "parameters": {"url": url}, "path": "data"}
        answer = running.copy(source, s3.endpoint(f"tls-{is_trusted}"), options={"attempts": 1})
        running.wait_clean()
    if is_trusted:
        assert answer.status_code == 200, answer.text
        assert s3.hashes(f"bucket/tls-{is_trusted}") == {"f.txt": digest(b"text")}
    else:
        assert answer.status_code != 200
        assert "certificate" in answer.text
        assert not s3.hashes(f"bucket/tls-{is_trusted}")
