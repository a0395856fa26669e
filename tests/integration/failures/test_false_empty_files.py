"""Files that a source lists as empty, and that are not: compared by hash."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from support.misbehaving import ftp, sftp, webdav
from support.misbehaving.troubles import Kind, Trouble
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage, digest

FILES: Final = {
    "a.bin": b"content" * 100,
    "sub/b.bin": b"other" * 900,
    "empty": b"",
    "sub/empty": b"",
}
CASES: Final = [
    ("sftp", Kind.ENTRY_ZERO),
    pytest.param("sftp", Kind.ENTRY_SIZELESS, marks=pytest.mark.slow),
    ("ftp", Kind.ENTRY_ZERO),
    ("webdav", Kind.ENTRY_ZERO),
    pytest.param("webdav", Kind.ENTRY_SIZELESS, marks=pytest.mark.slow),
]


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[dict[str, Any]]:
    with ExitStack() as running:
        yield {
            "webdav": running.enter_context(webdav.serving()),
            "sftp": running.enter_context(sftp.serving(tmp_path)),
            "ftp": running.enter_context(ftp.serving(tmp_path)),
        }


@pytest.mark.field_case("C1", variant="0 bytes and no size at SFTP and FTP")
@pytest.mark.parametrize("at", ["s3", pytest.param("wsgidav", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("kind", "trouble"), CASES)
def test_file_with_content_that_is_listed_as_empty_is_no_success(
    kind: str,
    trouble: Kind,
    at: str,
    direct: Function,
    sources: dict[str, Any],
    storages: dict[str, Storage],
    folder: str,
) -> None:
    # rclone sends nothing of such a file to a destination that is told its size first.
    source, to = sources[kind], storages[at]
    expected = source.storage.fill("data", FILES)
    source.troubles.plan([Trouble(trouble, "data/sub/b.bin")])
    request = {"source": source.storage.endpoint("data"), "destination": to.endpoint(folder)}
    answers = [direct.post(request), direct.post(request)]
    for answer in answers:  # the second finds what the first left
        assert answer.status_code == 502, answer.text
        (error,) = checked_result(answer)["errors"]
        assert (error["code"], error["side"]) == ("checksum_mismatch", "source")
        assert [sample["path"] for sample in error["samples"]] == ["sub/b.bin"]
    arrived = to.hashes("/".join(filter(None, (to.base, folder))))
    assert {name: arrived[name] for name in expected if name != "sub/b.bin"} == {
        name: hashed for name, hashed in expected.items() if name != "sub/b.bin"
    }
    source.troubles.plan([])
    healed = direct.post(request)
    assert healed.status_code == 200, healed.text
    assert to.hashes("/".join(filter(None, (to.base, folder)))) == expected


@pytest.mark.parametrize("name", ["b.bin", "empty"])
def test_single_file_that_is_listed_as_empty_is_read(
    name: str, function: Function, sources: dict[str, Any], s3: Storage, folder: str
) -> None:
    source = sources["ftp"]
    source.storage.fill("data", {"b.bin": b"content" * 100, "empty": b""})
    source.troubles.plan([Trouble(Kind.ENTRY_ZERO, f"data/{name}")])
    answer = function.copy(source.storage.endpoint(f"data/{name}"), s3.endpoint(f"{folder}/"))
    arrived = s3.hashes(f"bucket/{folder}")
    # rclone may look at the file in another way, and then its size is right.
    is_right = arrived == {name: digest(b"" if name == "empty" else b"content" * 100)}
    assert answer.status_code == (200 if is_right else 502), answer.text
    assert is_right or name != "empty"


def test_file_that_is_listed_as_empty_and_is_named_in_the_request_is_read(
    function: Function, sources: dict[str, Any], s3: Storage, folder: str
) -> None:
    source = sources["ftp"]
    source.storage.fill("data", FILES)
    source.troubles.plan([Trouble(Kind.ENTRY_ZERO, "data/a.bin")])
    selection = {"files": [{"path": "a.bin"}, {"path": "empty"}]}
    answer = function.copy(
        source.storage.endpoint("data"), s3.endpoint(folder), selection=selection
    )
    assert answer.status_code == 502, answer.text
    assert [one["path"] for one in answer.json()["result"]["files"]] == ["a.bin"]
    assert s3.hashes(f"bucket/{folder}")["empty"] == digest(b"")
