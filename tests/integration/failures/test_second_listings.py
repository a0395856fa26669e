"""Storages with folders whose listings end early, and do not when they are listed again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import asyncssh
import pytest

from support import storages as servers
from support.faulty_webdav import Faulty
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage

FILES: Final = {"good": b"1", "sub/a": b"22", "sub/b": b"333"}
EMPTY: Final = b'<?xml version="1.0"?><d:multistatus xmlns:d="DAV:"/>'


class EndsEarly(asyncssh.SFTPServer):
    """Ends the listing of a folder below the first after one name, as if that were all, until a
    file of it was read.
    """

    has_read = False

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        is_cut = path.rstrip(b"/").endswith(b"sub") and not EndsEarly.has_read
        count = 0
        async for entry in super().scandir(path):
            count += entry.filename not in (b".", b"..")
            if is_cut and count > 1:
                return
            yield entry

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> Any:
        EndsEarly.has_read = True
        return super().open(path, pflags, attrs)


def assert_true(answer: Any, arrived: dict[str, str], whole: dict[str, str], options: Any) -> None:
    """A second listing may come before the first one of the copy: then all arrives at once."""
    if answer.status_code == 200:
        assert arrived == whole
        return
    [error] = checked_result(answer)["errors"]
    assert (error["code"], error["side"], options["attempts"]) == ("storage_error", "source", 1)
    missing = whole.keys() - arrived.keys()
    assert {sample["path"] for sample in error["samples"]} == missing


@pytest.mark.field_case("K13", variant="an SFTP listing that ends early, once")
@pytest.mark.parametrize("attempts", [2, pytest.param(1, marks=pytest.mark.slow)])
def test_sftp_listing_that_ends_early_once_is_no_success(
    attempts: int, function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    EndsEarly.has_read = False
    with servers.sftp(tmp_path, EndsEarly) as sftp:
        whole = sftp.fill("data", FILES)
        options = {"attempts": attempts, "report": "all"}
        answer = function.copy(sftp.endpoint("data"), s3.endpoint(folder), options=options)
    assert_true(answer, s3.hashes(f"bucket/{folder}"), whole, options)


@pytest.mark.field_case("K13", variant="an empty WebDAV listing, once, without the gateway")
@pytest.mark.parametrize("attempts", [1, 2])
def test_webdav_listing_that_is_empty_once_is_no_success_without_the_gateway(
    attempts: int, direct: Function, dav: Faulty, s3: Storage, folder: str
) -> None:
    whole = dav.fill("data", FILES)
    dav.rewrite = lambda path, body: (
        EMPTY if path == "/data/sub" and not dav.seen("GET", "/data/good") else body
    )
    options = {"attempts": attempts, "report": "all"}
    answer = direct.copy(dav.endpoint("data"), s3.endpoint(folder), options=options)
    assert_true(answer, s3.hashes(f"bucket/{folder}"), whole, options)
