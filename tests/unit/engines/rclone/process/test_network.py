"""The real rclone, with a remote of each type, uses the guard as the user that it was given."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.config.settings import Settings
from efss_transfer.contract.schemas import schema
from efss_transfer.egress.dialer import DialRefused
from efss_transfer.egress.proxy import Guard
from efss_transfer.egress.rules import Egress
from efss_transfer.egress.socks5 import ConnectRequest
from efss_transfer.engines.rclone.process.daemon import running_daemon
from efss_transfer.engines.rclone.process.network import UNGUARDED, Route, open_route
from efss_transfer.engines.rclone.rc.client import Job, RcClient
from efss_transfer.model.request import Endpoint, TransferRequest
from efss_transfer.model.storage_traits import traits
from support.socks import eventually

URL = "http://storage.test/"
TOKEN = {"access_token": "x", "refresh_token": "y", "token_type": "bearer"}
STALE = json.dumps({**TOKEN, "expiry": "2001-01-01T00:00:00Z"})
FRESH = json.dumps({**TOKEN, "expiry": "2099-01-01T00:00:00Z"})
LOGIN = {"user": "a", "pass": "b"}
AZURE = {"account": "a", "key": "YWJj", "endpoint": URL}

# As much of each type as makes rclone connect somewhere. A token that is stale is refreshed first.
TYPES: dict[str, dict[str, str]] = {
    "webdav": {"url": URL, "vendor": "other"},
    "http": {"url": URL},
    "s3": {
        "provider": "Other",
        "endpoint": URL,
        "access_key_id": "a",
        "secret_access_key": "b",
    },
    "sftp": {"host": "storage.test", **LOGIN},
    "ftp": {"host": "storage.test", **LOGIN},
    "google cloud storage": {"endpoint": URL, "anonymous": "true"},
    "swift": {"auth": f"{URL}v1.0", "user": "a", "key": "b"},
    "azureblob": AZURE,
    "azurefiles": {**AZURE, "share_name": "s"},
    "b2": {"account": "a", "key": "b", "endpoint": URL},
    "seafile": {"url": URL, **LOGIN},
    "koofr": {"provider": "other", "endpoint": URL, "user": "a", "password": "b"},
    "internetarchive": {"endpoint": URL, "front_endpoint": URL},
    "dropbox": {"token": FRESH},
    "drive": {"token": STALE, "scope": "drive"},
    "onedrive": {"token": STALE, "drive_id": "d", "drive_type": "personal"},
    "box": {"token": STALE},
    "pcloud": {"token": FRESH, "hostname": "api.storage.test"},
    "hidrive": {"token": STALE},
    "yandex": {"token": STALE},
    "zoho": {"token": STALE, "region": "eu", "root_folder_id": "x"},
    "sharefile": {"token": STALE, "endpoint": "https://storage.test"},
    "opendrive": {"username": "a", "password": "b"},
    "quatrix": {"api_key": "a", "host": "storage.test"},
    "filefabric": {"url": URL, "permanent_token": "a"},
    "filescom": {"site": "a", "api_key": "b"},
    "doi": {"doi": "10.1/x"},
}
SHARED = ("swift", "azureblob", "azurefiles")
ALONE = tuple(type_ for type_ in TYPES if type_ not in SHARED)


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The users of all connections, with the hosts; none of the connections is made."""
    found: list[tuple[str, str]] = []

    async def refuse(_: Guard, request: ConnectRequest) -> socket.socket:
        found.append((request.user, request.to.host))
        raise DialRefused

    monkeypatch.setattr(Guard, "_dial", refuse)
    return found


@contextmanager
def booted(binary: Path, runtime: Path) -> Iterator[tuple[Route, RcClient]]:
    settings = Settings.read({"EFSS_TRANSFER_RUNTIME_DIR": str(runtime)})
    with (
        open_route(Egress(), None) as route,
        running_daemon(
            binary, settings, lambda _: None, connect_ports=route.ports, proxy=route.proxy
        ) as daemon,
        RcClient(daemon.socket_path, settings.rclone.boot_seconds) as rc,
    ):
        yield route, rc


def start(rc: RcClient, route: Route, type_: str, side: str) -> Job:
    """Begin to list a new remote of a side, at a host that is named after its type."""
    name = type_.replace(" ", "-")
    own = json.loads(json.dumps(TYPES[type_]).replace("storage.test", f"{name}.test"))
    rc.create_remote(name, type_, {**own, **route.remote_parameters(side, type_)})
    return rc.start_probe("operations/list", {"fs": f"{name}:bucket", "remote": ""})


def reached(users: list[tuple[str, str]], host: str) -> bool:
    return any(it == host for _, it in users)


def request_of(source: str, destination: str) -> TransferRequest:
    def end(type_: str) -> Endpoint:
        parameters: dict[str, Any] = TYPES[type_]
        return Endpoint(type_, parameters, "bucket")

    return TransferRequest(end(source), end(destination))


def test_every_type_is_here() -> None:
    definitions = schema("request")["$defs"]
    known = {
        name.removesuffix("_parameters").replace("google_cloud_storage", "google cloud storage")
        for name in definitions
        if name.endswith("_parameters")
    }
    assert set(TYPES) | set(UNGUARDED) == {one for one in known if not traits(one).is_served}


@pytest.mark.parametrize("side", ["source", "destination"])
def test_each_remote_is_the_user_of_its_side(
    rclone: Path, short: Path, users: list[tuple[str, str]], side: str
) -> None:
    with booted(rclone, short) as (route, rc):
        rc.set_proxy(str(route.global_proxy(request_of("http", "s3"))))
        jobs = [start(rc, route, type_, side) for type_ in ALONE]
        assert eventually(lambda: len({host for _, host in users}) == len(ALONE)), users
        rc.stop_probes()
        for job in jobs:
            assert job.wait(60)
            for secret in route.secrets:
                assert secret not in job.error + json.dumps(job.output)
    assert {user for user, _ in users} == {side}, users


@pytest.mark.parametrize("type_", SHARED)
@pytest.mark.parametrize("side", ["source", "destination"])
def test_types_with_one_transport_are_the_user_of_the_side_that_has_one(
    rclone: Path, short: Path, users: list[tuple[str, str]], type_: str, side: str
) -> None:
    ends = (type_, "ftp") if side == "source" else ("ftp", type_)
    (other,) = {"source", "destination"} - {side}
    with booted(rclone, short) as (route, rc):
        rc.set_proxy(str(route.global_proxy(request_of(*ends))))
        # FTP asks for that transport, too, for its TLS settings.
        for name, user in (("ftp", other), (type_, side)):
            start(rc, route, name, user)
            assert eventually(partial(reached, users, f"{name}.test"))
    assert set(users) == {(other, "ftp.test"), (side, f"{type_}.test")}


def test_two_ends_with_one_transport_may_go_where_either_may(
    rclone: Path, short: Path, users: list[tuple[str, str]]
) -> None:
    with booted(rclone, short) as (route, rc):
        rc.set_proxy(str(route.global_proxy(request_of("swift", "azureblob"))))
        start(rc, route, "swift", "source")
        start(rc, route, "azureblob", "destination")
        assert eventually(lambda: len(set(users)) == 2)
    assert set(users) == {("either", "swift.test"), ("either", "azureblob.test")}


def test_rclone_that_was_not_told_the_secret_is_refused(
    rclone: Path, short: Path, users: list[tuple[str, str]], caplog: pytest.LogCaptureFixture
) -> None:
    with booted(rclone, short) as (_, rc):
        rc.create_remote("remote", "http", TYPES["http"])
        job = rc.start_probe("operations/list", {"fs": "remote:", "remote": ""})
        assert job.wait(60)
        assert job.error
    assert users == []
    assert "refused a local client of the egress guard" in caplog.text


def test_route_shows_no_secret() -> None:
    with open_route(Egress(), None) as route:
        (secret,) = route.secrets
        assert secret not in repr(route)
        assert secret not in route.proxy
