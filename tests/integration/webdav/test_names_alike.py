"""Two files of the source that have one name at the server: one arrives, the other is refused."""

from __future__ import annotations

import unicodedata
import uuid
from pathlib import Path
from typing import Any, Final

import pytest

from efss_transfer.webdav.budget import Budget
from support.faulty_webdav import Faulty, status
from support.nextcloud import Nextcloud
from support.service_process import Function
from support.storages import Storage, digest
from support.webdav_gateway import gateway, run

pytestmark = pytest.mark.field_case("D3")

MIB: Final = 1 << 20
ALONE: Final = b"no other name is like this one"
NFC: Final = unicodedata.normalize("NFC", "é.txt")
NFD: Final = unicodedata.normalize("NFD", "é.txt")
CASES: Final = {
    "a file": ("README", "readme"),
    "a folder": ("Data/x/a.txt", "data/x/a.txt"),
    "a folder of two spellings": ("a/B/c.txt", "A/b/C.txt"),
    "beyond ASCII": ("ÄRGER", "ärger"),
}


def twins(s3: Storage, here: str, *names: str) -> dict[str, bytes]:
    """Files of these names, all of one size, and one more."""
    contents = {name: b"content %d" % number for number, name in enumerate(names)}
    s3.fill(f"bucket/{here}", contents | {"alone": ALONE})
    return contents


def lost(answer: Any) -> tuple[str, str]:
    """The path and the message of the one file that was refused for its name."""
    result = answer.json()["result"]
    (error,) = result["errors"]
    assert (answer.status_code, answer.json()["code"]) == (502, "partial"), answer.text
    assert (error["code"], error["count"], error["retryable"]) == ("name_refused", 1, False)
    (sample,) = error["samples"]
    return sample["path"], sample["message"]


def contents_of(dav: Faulty, folder: str) -> set[str]:
    return set(dav.hashes(folder).values())


@pytest.mark.parametrize("case", CASES)
def test_second_of_two_names_is_refused_before_it_overwrites_the_first(
    case: str, function: Function, dav: Faulty, s3: Storage
) -> None:
    dav.blind = True
    here = uuid.uuid4().hex
    contents = twins(s3, here, *CASES[case])
    answer = function.copy(s3.endpoint(here), dav.storage.endpoint("to"))
    path, message = lost(answer)
    (winner,) = contents.keys() - {path}
    assert winner in message
    assert sorted(dav.hashes("to").values()) == sorted(map(digest, (contents[winner], ALONE)))
    # Nothing was written over: each content was sent once, and the refused one not at all.
    assert len(dav.seen("PUT")) == 2
    assert not dav.seen("DELETE")


@pytest.mark.parametrize("case", CASES)
def test_same_request_again_overwrites_nothing_either(
    case: str, function: Function, dav: Faulty, s3: Storage
) -> None:
    dav.blind = True
    here = uuid.uuid4().hex
    contents = twins(s3, here, *CASES[case])
    request = s3.endpoint(here), dav.storage.endpoint("to")
    first, _ = lost(function.copy(*request))
    before = dav.hashes("to")
    (winner,) = contents.keys() - {first}
    path, message = lost(function.copy(*request))
    assert dav.hashes("to") == before
    assert (path, winner in message) == (first, True)


@pytest.mark.parametrize("size", [0, 300_000])
def test_name_that_the_server_shortens_does_not_replace_another_file(
    size: int, function: Function, dav: Faulty, s3: Storage
) -> None:
    # The server says by its answer to If-None-Match, or to Overwrite, that the file is there.
    dav.blind = True
    here = uuid.uuid4().hex
    contents = {name: name.encode() + bytes(size) for name in ("a.txt", "a.txt.")}
    s3.fill(f"bucket/{here}", contents | {"alone": ALONE})
    request = s3.endpoint(here), dav.storage.endpoint("to")
    path, message = lost(function.copy(*request))
    (winner,) = contents.keys() - {path}
    assert f"/{winner}," in message
    assert dav.hashes("to") == {winner: digest(contents[winner]), "alone": digest(ALONE)}
    assert lost(function.copy(*request))[0] == path
    assert contents_of(dav, "to") == {digest(contents[winner]), digest(ALONE)}


def test_names_are_told_apart_after_more_files_than_the_gateway_remembers(
    dav: Faulty, rclone: Path, tmp_path: Path
) -> None:
    dav.blind = True
    count = 200
    for folder in ("Data", "data"):
        (tmp_path / folder).mkdir()
        for number in range(count):
            (tmp_path / folder / f"{number}").write_text(f"{folder} {number}")
    with gateway(dav.storage.parameters["url"], is_destination=True, budget=Budget(MIB)) as running:
        there = running.connection_string("to")
        for folder in ("Data", "data"):  # all of one before the other
            only = "--include", f"/{folder}/**", "--transfers", "64"
            done = run(rclone, "copy", str(tmp_path), there, *only)
            assert (done.returncode == 0) == (folder == "Data"), done.stderr[-2000:]
        failures = running.gateway.record.failures
    assert failures.keys() == {f"to/data/{number}" for number in range(count)}
    assert "/to/Data/7," in failures["to/data/7"].words.message
    assert len(dav.seen("PUT")) == count
    assert dav.hashes("to") == {
        f"Data/{number}": digest(b"Data %d" % number) for number in range(count)
    }


def test_listed_files_of_two_unicode_forms_do_not_replace_each_other_at_nextcloud(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    here = uuid.uuid4().hex
    contents = twins(s3, here, NFC, NFD)
    request = s3.endpoint(here), cloud.storage().endpoint("to")
    files = {"files": [{"path": name} for name in (NFC, NFD, "alone")]}
    for _ in range(2):
        path, message = lost(function.copy(*request, selection=files))
        (winner,) = contents.keys() - {path}
        assert winner in message
        assert cloud.storage().hashes("to") == {
            NFC: digest(contents[winner]),
            "alone": digest(ALONE),
        }


@pytest.mark.parametrize("names", [(NFC, NFD), (f"{NFC}/a", f"{NFD}/b")])
def test_two_unicode_forms_in_a_folder_are_no_silent_loss_at_nextcloud(
    names: tuple[str, str], function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    here = uuid.uuid4().hex
    contents = twins(s3, here, *names)
    answer = function.copy(s3.endpoint(here), cloud.storage().endpoint("to"))
    path, message = lost(answer)
    (winner,) = (name for name in names if not name.startswith(path))
    assert winner.split("/")[0] in message
    arrived = cloud.storage().hashes("to")
    assert set(arrived.values()) == {digest(contents[winner]), digest(ALONE)}


def test_name_in_another_case_than_at_the_server_is_copied_if_the_source_has_one(
    function: Function, dav: Faulty, s3: Storage
) -> None:
    dav.blind = True
    dav.fill("to", {"README": b"of an earlier copy"})
    here = uuid.uuid4().hex
    s3.fill(f"bucket/{here}", {"readme": b"renamed and changed"})
    answer = function.copy(s3.endpoint(here), dav.storage.endpoint("to"))
    assert answer.status_code == 200, answer.text
    assert dav.hashes("to") == {"README": digest(b"renamed and changed")}


@pytest.mark.parametrize("kind", ["plain", "nextcloud"])
def test_server_that_keeps_the_names_apart_gets_them_all(
    kind: str, function: Function, dav: Faulty, s3: Storage
) -> None:
    storage = dav.storage if kind == "plain" else dav.nextcloud
    here = uuid.uuid4().hex
    for number in range(2):
        files = {
            name: b"%d %s" % (number, name.encode()) for pair in CASES.values() for name in pair
        }
        expected = s3.fill(f"bucket/{here}", files)
        options = {"overwrite": "always", "verify": "download"}
        answer = function.copy(s3.endpoint(here), storage.endpoint("to"), options=options)
        assert answer.status_code == 200, answer.text
        assert storage.hashes("to") == expected


def test_upload_that_failed_is_tried_again_under_its_own_name(
    function: Function, dav: Faulty, s3: Storage
) -> None:
    dav.blind = True
    here = uuid.uuid4().hex
    contents = twins(s3, here, "README", "readme")
    dav.fail("PUT", "*", status(503), times=3)
    answer = function.copy(s3.endpoint(here), dav.storage.endpoint("to"))
    path, _ = lost(answer)
    (winner,) = contents.keys() - {path}
    assert contents_of(dav, "to") == {digest(contents[winner]), digest(ALONE)}
