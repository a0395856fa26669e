"""Whether an answer is the file that the list promises."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from efss_transfer.served import answers
from efss_transfer.served.answers import WrongAnswer
from efss_transfer.served.checksums import Checksum
from efss_transfer.served.manifest import UrlFile

HTML = {"content-type": "text/html; charset=utf-8"}


def answer(status: int = 200, **headers: str) -> Any:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return SimpleNamespace(status=status, header=named.get)


def file(path: str = "a.bin", size: int | None = None, checksum: Checksum | None = None) -> UrlFile:
    return UrlFile(path, ("https://x.test/",), size, checksum)


@pytest.mark.parametrize(
    ("sent", "listed", "start", "size"),
    [
        (answer(content_length="5"), file(), 0, 5),
        (answer(content_length="5"), file(size=5), 0, 5),
        (answer(), file(size=5), 0, None),
        (answer(206, content_range="bytes 3-9/10"), file(), 3, 10),
        (answer(206, content_range="bytes 0-0/*"), file(), 0, None),
        (answer(content_length="5", content_type="text/html"), file(size=5), 0, 5),
        (answer(content_length="5", content_type="text/html"), file("a.HTML"), 0, 5),
        (answer(content_type="text/html"), file(checksum=Checksum("md5", b"")), 0, None),
    ],
)
def test_answer_of_the_file_tells_its_size(
    sent: Any, listed: UrlFile, start: int, size: int | None
) -> None:
    assert answers.check(sent, listed, start) == size


@pytest.mark.parametrize(
    ("sent", "listed", "start"),
    [
        (answer(content_length="4"), file(size=5), 0),
        (answer(206, content_range="bytes 0-9/10"), file(), 3),
        (answer(206), file(), 0),
        (answer(content_length="5"), file(), 3),
        (answer(content_length="5", content_encoding="gzip"), file(), 0),
        (answer(content_length="5", content_type="text/html"), file(), 0),
        (answer(content_type="application/xhtml+xml"), file(size=5), 0),
    ],
)
def test_other_answer_is_refused(sent: Any, listed: UrlFile, start: int) -> None:
    with pytest.raises(WrongAnswer):
        answers.check(sent, listed, start)


def test_validator_is_the_strong_etag_or_the_time() -> None:
    time = "Tue, 14 Nov 2023 22:13:20 GMT"
    assert answers.validator(answer(etag='"a"', last_modified=time)) == '"a"'
    assert answers.validator(answer(etag='W/"a"', last_modified=time)) == time
    assert answers.validator(answer()) is None
    assert answers.modified(answer(last_modified=time)) == 1_700_000_000
    assert answers.modified(answer(last_modified="yesterday")) is None
    assert answers.modified(answer()) is None
