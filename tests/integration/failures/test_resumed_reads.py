"""Servers that cut files off and ignore Range: what is asked for as the rest is the beginning."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from support import faulty_webdav, http_index
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage, digest

FILES = {f"{number}.bin": os.urandom(60_000) for number in range(3)}


@contextmanager
def index(honours_range: bool) -> Iterator[dict[str, Any]]:
    files = {f"data/{name}": content for name, content in FILES.items()}
    with http_index.serving(files) as served:
        served.cuts_short, served.ignores_range = True, not honours_range
        yield served.endpoint("data/")


@contextmanager
def webdav(honours_range: bool) -> Iterator[dict[str, Any]]:
    with faulty_webdav.serving(ranges=honours_range) as dav:
        dav.fill("data", FILES)
        for name in FILES:
            cut = faulty_webdav.truncate(30_000)
            dav.fail("GET", f"/data/{name}", cut, times=1 if honours_range else None)
        yield dav.endpoint("data")


@pytest.mark.field_case("K14")
@pytest.mark.parametrize("source", [index, webdav])
@pytest.mark.parametrize("one", [True, False], ids=["file", "folder"])
def test_first_half_is_not_taken_for_the_second(
    source: Callable[[bool], Any], one: bool, function: Function, s3: Storage, folder: str
) -> None:
    with source(False) as end:
        path = f"{end['path'].rstrip('/')}/0.bin" if one else end["path"]
        answer = function.copy({**end, "path": path}, s3.endpoint(folder))
    assert answer.status_code == 502, answer.text
    result = checked_result(answer)
    assert result["totals"]["files"]["failed"] == (1 if one else 3)
    assert not s3.hashes(f"bucket/{folder}")


@pytest.mark.field_case("K14")
def test_rest_of_a_webdav_file_is_read_where_the_server_honours_range(
    function: Function, s3: Storage, folder: str
) -> None:
    with webdav(True) as end:
        answer = function.copy(end, s3.endpoint(folder))
    assert answer.status_code == 200, answer.text
    whole = {name: digest(content) for name, content in FILES.items()}
    assert s3.hashes(f"bucket/{folder}") == whole
