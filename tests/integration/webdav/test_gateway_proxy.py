"""The WebDAV gateway at a site whose connections all go through an HTTP proxy of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support import faulty_webdav as faulty
from support import http_servers, service_process
from support.certificates import certificate
from support.faulty_webdav import Faulty, status
from support.forward_proxy import ForwardProxy, forward_proxy
from support.service_process import Function
from support.storages import CLOSED_PORT, Storage

# Each test starts a service of its own.
pytestmark = pytest.mark.slow

FILES = {"a.txt": b"a", "empty": b"", "deep/b c.bin": os.urandom(400_000), "ü": b"x"}


@contextmanager
def function(folder: Path, proxy: str, **site: Any) -> Iterator[Function]:
    (folder / "run").mkdir()
    with service_process.function(
        folder / "run", site={"egress_proxy": proxy, **site}, WEBDAV_GATEWAY="1"
    ) as running:
        yield running
        running.wait_clean()


def port_of(storage: Storage, parameter: str = "url") -> int:
    port = urlsplit(str(storage.parameters[parameter])).port
    assert port is not None
    return port


def named(storage: Storage, host: str, path: str, parameter: str = "url") -> dict[str, Any]:
    """A storage by a name that only the proxy resolves."""
    end = storage.endpoint(path)
    parts = urlsplit(str(end["parameters"][parameter]))
    url = parts._replace(netloc=host).geturl()
    return {**end, "parameters": {**end["parameters"], parameter: url}}


def test_files_arrive_through_the_proxy_and_no_host_gets_the_others_credential(
    tmp_path: Path, storages: dict[str, Storage], dav: Faulty
) -> None:
    source, destination = dav.nextcloud, storages["wsgidav"]
    expected = source.fill("proxied", FILES)
    hosts = {"one.example": port_of(source), "two.example": port_of(destination)}
    with forward_proxy(hosts) as proxy, function(tmp_path, proxy.url) as running:
        answer = running.copy(
            named(source, "one.example", "proxied"),
            named(destination, "two.example", "proxied/here"),
            options={"verify": "download"},
        )
    assert answer.status_code == 200, answer.text
    assert destination.hashes("proxied/here") == expected
    assert {one.host for one in proxy.requests} == set(hosts)
    for host in hosts:
        assert len({one.authorization for one in proxy.seen(host)} - {None}) <= 1
    ours = {one.authorization for one in proxy.seen("one.example")} - {None}
    theirs = {one.authorization for one in proxy.seen("two.example")} - {None}
    assert ours
    assert not ours & theirs


def test_storage_that_is_no_webdav_goes_by_the_proxy_as_before(
    tmp_path: Path, storages: dict[str, Storage], dav: Faulty
) -> None:
    # Plain HTTP, so that rclone uses the same connections for it and for the gateway.
    s3 = storages["s3"]
    expected = dav.nextcloud.fill("mixed", {f"{number}": b"%d" % number for number in range(40)})
    hosts = {"one.example": port_of(dav.nextcloud), "objects": port_of(s3, "endpoint")}
    with forward_proxy(hosts) as proxy, function(tmp_path, proxy.url) as running:
        there = named(s3, "objects", "proxied-mixed", "endpoint")
        back = named(dav.nextcloud, "one.example", "back")
        for source, destination in (
            (named(dav.nextcloud, "one.example", "mixed"), there),
            (there, back),
        ):
            answer = running.copy(source, destination, options={"transfers": 8})
            assert answer.status_code == 200, answer.text
            assert answer.json()["attempts"] == 1
    assert s3.hashes("bucket/proxied-mixed") == expected
    assert dav.nextcloud.hashes("back") == expected
    assert {one.host for one in proxy.requests} == set(hosts)


def test_server_with_tls_is_reached_by_a_tunnel(
    tmp_path: Path, s3: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate(tmp_path / "key.pem", tmp_path / "ca.pem", "tls.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with http_servers.tls_source(tmp_path / "ca.pem", tmp_path / "key.pem") as url:
        hosts = {"tls.example": urlsplit(url).port or 0, "objects": port_of(s3, "endpoint")}
        with forward_proxy(hosts) as proxy, function(tmp_path, proxy.url) as running:
            answer = running.copy(
                {
                    "type": "webdav",
                    "parameters": {"url": "https://tls.example", "user": "a", "pass": "b"},
                    "path": "data",
                },
                named(s3, "objects", "proxied-tls", "endpoint"),
            )
    assert answer.status_code == 200, answer.text
    assert set(s3.hashes("bucket/proxied-tls")) == {"f.txt"}
    assert {one.method for one in proxy.seen("tls.example")} == {"CONNECT"}
    assert {one.authorization for one in proxy.seen("tls.example")} == {None}


@pytest.mark.parametrize(
    ("target", "site"),
    [
        pytest.param("http://10.1.2.3/data/", {}, id="private-address"),
        pytest.param("http://0x7f.1/data/", {}, id="address-in-another-spelling"),
        pytest.param(
            "http://other.example/data/",
            {"allow": {"hosts": ["one.example", "objects"]}},
            id="name-that-is-not-allowed",
        ),
        pytest.param(
            "http://other.example/data/", {"deny": {"hosts": ["other.example"]}}, id="denied"
        ),
    ],
)
def test_redirect_to_what_the_site_does_not_allow_is_refused(
    target: str, site: dict[str, Any], tmp_path: Path, dav: Faulty, s3: Storage
) -> None:
    dav.fail("*", "*", status(307, Location=target))
    hosts = {"one.example": port_of(dav.storage), "objects": port_of(s3, "endpoint")}
    with forward_proxy(hosts) as proxy, function(tmp_path, proxy.url, **site) as running:
        answer = running.copy(
            named(dav.nextcloud, "one.example", "data"),
            named(s3, "objects", "refused-redirect", "endpoint"),
            options={"attempts": 1},
        )
    assert answer.status_code in (403, 422), answer.text
    assert {one.host for one in proxy.requests} <= set(hosts)
    assert not s3.hashes("bucket/refused-redirect")


def test_redirect_that_the_site_allows_is_followed_without_the_credential(
    tmp_path: Path, dav: Faulty, s3: Storage
) -> None:
    expected = dav.nextcloud.fill("data", {"f": b"content"})
    elsewhere = faulty.NEXTCLOUD + "/data/f"
    hosts = {
        "one.example": port_of(dav.storage),
        "pool.example": port_of(dav.storage),
        "objects": port_of(s3, "endpoint"),
    }
    dav.fail("GET", "*", status(302, Location=f"http://pool.example{elsewhere}"), times=1)
    with forward_proxy(hosts) as proxy, function(tmp_path, proxy.url) as running:
        answer = running.copy(
            named(dav.nextcloud, "one.example", "data"),
            named(s3, "objects", "pool", "endpoint"),
        )
    assert answer.status_code == 200, answer.text
    assert s3.hashes("bucket/pool") == expected
    (moved,) = proxy.seen("pool.example")
    assert (moved.method, moved.authorization) == ("GET", None)


@pytest.mark.parametrize("gateway", ["0", "1"])
def test_proxy_that_does_not_answer_is_an_unreachable_storage(
    gateway: str, tmp_path: Path, dav: Faulty, s3: Storage
) -> None:
    (tmp_path / "run").mkdir()
    site = {"egress_proxy": f"http://127.0.0.1:{CLOSED_PORT}"}
    with service_process.function(
        tmp_path / "run", site=site, WEBDAV_GATEWAY=gateway, RETRY_SECONDS="0.1"
    ) as running:
        answer = running.copy(
            named(dav.nextcloud, "one.example", "data"),
            named(s3, "objects", "unreachable", "endpoint"),
        )
        assert answer.json()["code"] == "storage_unreachable", answer.text
        running.wait_clean()


def test_names_that_the_proxy_does_not_know_are_an_error(
    tmp_path: Path, dav: Faulty, s3: Storage
) -> None:
    with forward_proxy({"objects": port_of(s3, "endpoint")}) as proxy:
        assert isinstance(proxy, ForwardProxy)
        with function(tmp_path, proxy.url) as running:
            answer = running.copy(
                named(dav.nextcloud, "none.example", "data"),
                named(s3, "objects", "unknown", "endpoint"),
                options={"attempts": 1},
            )
    assert answer.status_code in (502, 503), answer.text
