"""Real copies between real storages, both ways, contents compared by hash."""

from __future__ import annotations

import os
import shutil
import unicodedata
import uuid

import pytest

from support.service_process import Function
from support.storages import Storage, digest

# What users call their files. The emulator of Google Cloud Storage does not quote a `%` in
# the links that it hands out, and FTP has no way to name a file with a line's end.
ODD = {
    "plain.txt": b"plain",
    "empty": b"",
    "deep/er/still/file.bin": os.urandom(100_000),
    "with space.txt": b"space",
    "100% #1 [a]{b}?.txt": b"signs",
    "émoji 🎉 ü.txt": b"letters",
    "colon:quote\"'.txt": b"quotes",
    "-dash": b"dash",
}
PLAIN = {name: ODD[name] for name in ("plain.txt", "empty", "deep/er/still/file.bin", "-dash")}
PAIRS = [
    ("wsgidav", "s3"),
    ("s3", "wsgidav"),
    ("rclone", "s3"),
    ("s3", "rclone"),
    ("wsgidav", "rclone"),
    ("sftp", "wsgidav"),
    ("wsgidav", "sftp"),
    ("sftp", "s3"),
    ("s3", "sftp"),
    ("ftp", "s3"),
    ("s3", "ftp"),
    ("ftp", "sftp"),
    ("sftp", "ftp"),
    ("gcs", "wsgidav"),
    ("wsgidav", "gcs"),
    ("gcs", "s3"),
    ("s3", "gcs"),
]


def base(storage: Storage) -> str:
    return f"{storage.base}/" if storage.base else ""


@pytest.mark.parametrize(("source_name", "destination_name"), PAIRS)
def test_a_folder_arrives_whole_and_a_second_run_skips_all(
    function: Function, storages: dict[str, Storage], source_name: str, destination_name: str
) -> None:
    source, destination = storages[source_name], storages[destination_name]
    files = PLAIN if "gcs" in (source_name, destination_name) else ODD
    here, there = f"from-{uuid.uuid4().hex}", f"to-{uuid.uuid4().hex}/below"
    hashes = source.fill(base(source) + here, files)

    first = function.copy(source.endpoint(here), destination.endpoint(there), id="first")

    assert first.status_code == 200, first.text
    assert destination.hashes(base(destination) + there) == hashes
    result = first.json()
    assert result["state"] == "succeeded"
    assert result["id"] == "first"
    assert result["totals"] == {
        "files": {"transferred": len(files), "skipped": 0, "failed": 0},
        "bytes": {"transferred": sum(map(len, files.values()))},
    }
    assert result["rclone"]["exit_code"] == 0
    assert result["rclone"]["job"]["success"] is True

    second = function.copy(
        source.endpoint(here), destination.endpoint(there), options={"report": "all"}
    ).json()

    assert second["totals"]["files"] == {"transferred": 0, "skipped": len(files), "failed": 0}
    assert {file["path"]: file["state"] for file in second["files"]} == dict.fromkeys(
        files, "skipped"
    )


NEW_NAME = ("{}/new-name.bin", "{}/new-name.bin")
SLASH = ("{}/folder/", "{}/folder/data.bin")
FOLDER = ("{}/existing", "{}/existing/data.bin")
SOURCES = ["wsgidav", "rclone", "s3", "sftp", "ftp", "gcs"]
DESTINATIONS = ["wsgidav", "s3", "sftp", "gcs"]


@pytest.mark.parametrize(
    ("source_name", "destination_name", "to", "arrives_at"),
    [
        *((source, there, *NEW_NAME) for source in SOURCES for there in DESTINATIONS),
        # What a destination makes of the path is the same for each source.
        *(("s3", there, *SLASH) for there in DESTINATIONS),
        *(("wsgidav", there, *FOLDER) for there in DESTINATIONS),
    ],
)
def test_a_file_is_copied_as_a_file(
    function: Function,
    storages: dict[str, Storage],
    source_name: str,
    destination_name: str,
    to: str,
    arrives_at: str,
) -> None:
    source, destination = storages[source_name], storages[destination_name]
    here, there = uuid.uuid4().hex, uuid.uuid4().hex
    content = os.urandom(5000)
    source.fill(f"{base(source)}{here}", {"data.bin": content, "other.bin": b"not this"})
    destination.fill(f"{base(destination)}{there}/existing", {"kept": b"kept"})

    answer = function.copy(
        source.endpoint(f"{here}/data.bin"), destination.endpoint(to.format(there))
    )

    assert answer.status_code == 200, answer.text
    assert answer.json()["totals"]["files"] == {"transferred": 1, "skipped": 0, "failed": 0}
    assert destination.hashes(base(destination) + there) == {
        "existing/kept": digest(b"kept"),
        arrives_at.format(there).removeprefix(there + "/"): digest(content),
    }


def test_a_file_that_is_there_already_is_skipped(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    here = uuid.uuid4().hex
    webdav.fill(here, {"a.txt": b"once"})
    for expected in ("transferred", "skipped"):
        answer = function.copy(webdav.endpoint(f"{here}/a.txt"), s3.endpoint(f"{here}/b.txt"))
        assert answer.json()["totals"]["files"][expected] == 1, answer.text


@pytest.mark.parametrize("name", ["wsgidav", "rclone", "sftp", "ftp"])
def test_an_empty_folder_is_a_success_of_no_files(
    function: Function, storages: dict[str, Storage], s3: Storage, name: str
) -> None:
    empty = uuid.uuid4().hex
    storages[name].fill(empty, {"later/gone": b""})
    shutil.rmtree(storages[name].details["folder"] / empty / "later")

    answer = function.copy(storages[name].endpoint(empty), s3.endpoint(empty))

    assert answer.status_code == 200, answer.text
    assert answer.json()["totals"]["files"] == {"transferred": 0, "skipped": 0, "failed": 0}


def test_an_empty_bucket_is_a_success_of_no_files(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    s3.details["client"].create_bucket(Bucket="empty-bucket")
    source = {**s3.endpoint(), "path": "empty-bucket"}

    answer = function.copy(source, webdav.endpoint(uuid.uuid4().hex))

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("name", ["wsgidav", "s3"])
def test_a_storage_copies_by_itself_where_both_sides_are_the_same(
    function: Function, storages: dict[str, Storage], name: str
) -> None:
    storage = storages[name]
    here = uuid.uuid4().hex
    hashes = storage.fill(f"{base(storage)}{here}/a", {"x.bin": os.urandom(1000), "y/z": b"z"})

    answer = function.copy(storage.endpoint(f"{here}/a"), storage.endpoint(f"{here}/b"))

    assert answer.status_code == 200, answer.text
    assert storage.hashes(f"{base(storage)}{here}/b") == hashes
    assert answer.json()["rclone"]["stats"]["serverSideCopies"] == 2


def test_what_was_there_and_what_is_newer_are_told_apart(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    here = uuid.uuid4().hex
    webdav.fill(here, {"same": b"same", "changed": b"old"})
    function.copy(webdav.endpoint(here), s3.endpoint(here))
    hashes = webdav.fill(here, {"changed": b"newer", "added": b"added", "same": b"same"})

    answer = function.copy(webdav.endpoint(here), s3.endpoint(here), options={"report": "all"})

    assert s3.hashes(f"bucket/{here}") == hashes
    assert {file["path"]: file["state"] for file in answer.json()["files"]} == {
        "same": "skipped",
        "changed": "transferred",
        "added": "transferred",
    }


def test_a_name_that_cannot_be_told_from_another_is_no_silent_loss(
    function: Function, s3: Storage
) -> None:
    """Two spellings of one name: rclone copies one of the files and only notes the other."""
    here = uuid.uuid4().hex
    one, two = (unicodedata.normalize(form, "é.txt") for form in ("NFC", "NFD"))
    s3.fill(f"bucket/{here}", {one: b"1", two: b"22", "a//b": b"an empty part", "plain": b"plain"})

    answer = function.copy(s3.endpoint(here), s3.endpoint(f"{here}-copy"))

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (502, "partial")
    totals = problem["result"]["totals"]["files"]
    assert (totals["transferred"], totals["failed"]) == (2, 1)
    assert {group["code"] for group in problem["result"]["errors"]} == {"name_refused"}
    assert unicodedata.normalize("NFC", problem["result"]["files"][0]["path"]) == one
