"""Names that WsgiDAV cuts in a MOVE arrive whole, and no other file is touched."""

from __future__ import annotations

import pytest

from support.service_process import Function
from support.storages import Storage


@pytest.mark.parametrize("size", [10, 300_000])
def test_names_with_marks_of_a_url_arrive_whole(
    size: int, function: Function, webdav: Storage, s3: Storage
) -> None:
    folder = f"marks-{size}"
    files = {"old": b"other", "old;new.txt": b"a" * size, "old?x.txt": b"b" * size}
    expected = s3.fill(f"bucket/{folder}", files)
    for _ in range(2):  # new files, and then in the place of old ones
        options = {"overwrite": "always"}
        answer = function.copy(s3.endpoint(folder), webdav.endpoint(folder), options=options)
        assert answer.status_code == 200, answer.text
        assert webdav.hashes(folder) == expected
