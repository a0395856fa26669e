"""Two XRootD servers copy between themselves, by jobs of an FTS server's stand-in."""

from __future__ import annotations

import os
import ssl
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from support import fts_server, service_process
from support.fts_server import FtsServer
from support.fts_site import TOKEN
from support.service_process import SCRIPTS, Function
from support.storages import digest
from support.traffic import Traffic
from support.xrootd import Grid

# It needs XRootD's packages.
pytestmark = pytest.mark.slow
FILES = {
    "a.txt": b"1",
    "sub/b.bin": bytes(70_000),
    "sub/deep/u\u0308 & 100 %.txt": b"333",
    "sub ü/c": b"4444",
    "empty": b"",
}


@pytest.fixture
def folder() -> str:
    return uuid.uuid4().hex


@pytest.fixture(scope="module")
def fts(grid: Grid) -> Iterator[FtsServer]:
    with fts_server.serving(ssl.create_default_context(cafile=str(grid.signed))) as running:
        running.admit(TOKEN)
        yield running


@pytest.fixture(scope="module")
def function(
    grid: Grid, fts: FtsServer, traffic: Traffic, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Function]:
    site = {
        "engines": {"fts": {"url": fts.url}},
        "allow": {"hosts": ["localhost"], "networks": ["127.0.0.0/8"]},
    }
    command = ("env", *traffic.variables, str(SCRIPTS / "functions-framework"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(grid.signed))
        runtime = tmp_path_factory.mktemp("runtime")
        with service_process.function(runtime, command=command, site=site) as running:
            yield running


def copy(function: Function, grid: Grid, folder: str, **options: Any) -> requests.Response:
    source = grid.source.storage().endpoint(folder)
    destination = grid.destination.storage().endpoint(folder)
    members = {"fts": {"token": TOKEN}, "options": options}
    return function.copy(source, destination, engine="fts", **members)


def test_folder_is_copied_by_hash_and_few_bytes_pass_through_the_service(
    function: Function, grid: Grid, folder: str, traffic: Traffic
) -> None:
    files = {**FILES, "large": os.urandom(1 << 20) * 50}
    hashes = grid.source.storage().fill(folder, files)
    before = traffic.bytes
    answer = copy(function, grid, folder, verify="checksum")
    passed = traffic.bytes - before
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert result["totals"]["files"]["transferred"] == len(files)
    assert result["totals"]["bytes"]["transferred"] == sum(map(len, files.values()))
    assert result["verification"]["hash"] == "adler32"
    assert result["verification"]["checked"] == len(files)
    assert grid.destination.storage().hashes(folder) == hashes
    assert hashes["a.txt"] == digest(b"1")
    assert 0 < passed < len(files["large"]) / 100
    again = copy(function, grid, folder)
    assert again.json()["totals"]["files"]["skipped"] == len(files), again.text


def test_token_that_may_not_write_blames_the_destination(
    function: Function, grid: Grid, folder: str
) -> None:
    grid.source.storage().fill(folder, FILES)
    source = grid.source.storage().endpoint(folder)
    weak = grid.destination.token("READ_METADATA,LIST")
    destination = grid.destination.storage(weak).endpoint(folder)
    members = {"engine": "fts", "fts": {"token": TOKEN}, "options": {"attempts": 1}}
    answer = function.copy(source, destination, **members)
    assert answer.status_code == 422, answer.text
    errors = answer.json()["result"]["errors"]
    assert {(it["code"], it["side"]) for it in errors} == {("permission_denied", "destination")}
    assert grid.destination.storage().hashes(folder) == {}
    assert weak not in answer.text + function.log.read_text()
