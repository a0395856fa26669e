"""A file or folder that a server lists twice is one, and no failure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from support import faulty_webdav, listing_ftp
from support.faulty_webdav import Faulty
from support.misbehaving import s3 as misbehaving_s3
from support.service_process import Function
from support.storages import Storage, digest

FILES: Final = {"a": b"1", "twice": b"22", "sub/b": b"333", "sub/twice": b"4444"}


@pytest.fixture
def dav() -> Iterator[Faulty]:
    with faulty_webdav.serving() as running:
        yield running


def doubled(_: str, body: bytes) -> bytes:
    """A listing that has each entry twice, of a file and of a folder, but itself."""
    own, *others = re.findall(rb"<d:response>.*?</d:response>", body, re.DOTALL)
    return body.replace(own, own + b"".join(others), 1)


@pytest.mark.parametrize("gateway", [True, False])
def test_entry_of_webdav_that_is_listed_twice(
    gateway: bool, function: Function, direct: Function, dav: Faulty, s3: Storage, folder: str
) -> None:
    expected = dav.fill("data", FILES)
    dav.rewrite = doubled
    service = function if gateway else direct
    answer = service.copy(dav.storage.endpoint("data"), s3.endpoint(folder))
    assert answer.status_code == 200, answer.text
    assert answer.json()["totals"]["files"]["transferred"] == len(FILES)
    assert s3.hashes(f"bucket/{folder}") == expected


def test_entry_of_ftp_that_is_listed_twice(
    function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    def facts(line: bytes) -> bytes:
        return line * 2 if line.endswith((b" twice\r\n", b" sub\r\n")) else line

    with listing_ftp.serving(tmp_path, mlsd=True, facts=facts) as server:
        expected = server.fill("data", FILES)
        answer = function.copy(server.endpoint("data"), s3.endpoint(folder))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == expected


def test_key_that_is_listed_twice_may_stand_for_another_one(
    function: Function, s3: Storage, webdav: Storage, folder: str
) -> None:
    s3.fill(f"bucket/{folder}", {"first": b"1", "lost": b"2"})
    with misbehaving_s3.before(s3) as odd:
        # The first entry comes again in place of the other, as with a page that is sent twice.
        odd.rename = lambda key: key.replace("/lost", "/first")
        answer = function.copy(odd.storage.endpoint(folder), webdav.endpoint(folder))
    assert answer.status_code != 200, answer.text
    assert webdav.hashes(folder) == {"first": digest(b"1")}
