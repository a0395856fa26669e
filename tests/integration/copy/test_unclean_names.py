"""Keys of an object store that are one path where there are folders."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, Final

import pytest

from support import service_process
from support.service_process import Function
from support.storages import Storage, digest

ALONE: Final = b"no other key is like this one"
CASES: Final = {
    "an empty part": (("data/b.txt", "data//b.txt"), "data/b.txt"),
    "two of three": (("b//c", "b///c"), "b/c"),
    "a slash at the beginning": (("a.txt", "/a.txt"), "a.txt"),
    "a slash at the end": (("dir", "dir/"), "dir"),
}
DESTINATIONS: Final = ("wsgidav", "rclone", "sftp", "ftp")


@pytest.fixture(scope="module")
def without_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    with service_process.function(tmp_path_factory.mktemp("gw"), WEBDAV_GATEWAY="0") as running:
        yield running


def bucket(s3: Storage, files: dict[str, bytes]) -> tuple[str, dict[str, Any]]:
    """A new bucket with these files, and the endpoint of the whole of it.

    Only of a whole bucket rclone can list `data//`.
    """
    here = uuid.uuid4().hex
    s3.details["client"].create_bucket(Bucket=here)
    s3.fill(here, files)
    return here, {**s3.endpoint(), "path": here}


def fill(s3: Storage, names: tuple[str, ...]) -> tuple[str, dict[str, Any], dict[str, bytes]]:
    contents = {name: b"content %d" % number for number, name in enumerate(names)}
    return *bucket(s3, contents | {"alone": ALONE}), contents


def check(answer: Any, contents: dict[str, bytes], place: str, arrived: dict[str, str]) -> None:
    """One file is refused with the name of the other, which is the one that arrived."""
    assert (answer.status_code, answer.json()["code"]) == (502, "partial"), answer.text
    (error,) = answer.json()["result"]["errors"]
    assert (error["code"], error["count"], error["retryable"]) == ("name_refused", 1, False)
    (sample,) = error["samples"]
    winner = place if place in contents else min(contents)
    (loser,) = contents.keys() - {winner}
    assert sample["path"] == loser
    assert repr(winner) in sample["message"]
    assert arrived == {place: digest(contents[winner]), "alone": digest(ALONE)}


@pytest.mark.field_case("D1", variant="three keys, and a slash at the beginning, at SFTP and FTP")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", DESTINATIONS)
def test_second_of_two_keys_with_one_path_is_refused(
    kind: str, case: str, function: Function, storages: dict[str, Storage], s3: Storage
) -> None:
    names, place = CASES[case]
    here, source, contents = fill(s3, names)
    to = storages[kind]
    for _ in range(2):  # the same request again overwrites nothing either
        answer = function.copy(source, to.endpoint(here), options={"verify": "size", "attempts": 1})
        check(answer, contents, place, to.hashes(here))


def test_second_of_two_keys_is_refused_without_the_gateway(
    without_gateway: Function, webdav: Storage, s3: Storage
) -> None:
    here, source, contents = fill(s3, ("data/b.txt", "data//b.txt"))
    answer = without_gateway.copy(source, webdav.endpoint(here))
    check(answer, contents, "data/b.txt", webdav.hashes(here))


@pytest.mark.parametrize("kind", ["wsgidav", "sftp", "ftp"])
def test_keys_whose_path_is_free_arrive_there(
    kind: str, function: Function, storages: dict[str, Storage], s3: Storage
) -> None:
    files = {"a//b": b"1", "/c": b"22", "d/": b"333", "e/f": b"4", "not/this//one.tmp": b"5"}
    here, source = bucket(s3, files)
    to = storages[kind]
    request: dict[str, Any] = {
        "options": {"verify": "download"},
        "selection": {"exclude": ["*.tmp"]},
    }
    answer = function.copy(source, to.endpoint(here), **request)
    assert answer.status_code == 200, answer.text
    assert answer.json()["totals"]["files"] == {"transferred": 4, "skipped": 0, "failed": 0}
    # rclone cannot look up `d/`.
    assert answer.json()["verification"]["checked"] == 3
    assert to.hashes(here) == {
        "a/b": digest(b"1"),
        "c": digest(b"22"),
        "d": digest(b"333"),
        "e/f": digest(b"4"),
    }


def test_keys_whose_path_is_free_are_not_sent_again(
    function: Function, storages: dict[str, Storage], s3: Storage
) -> None:
    here, source = bucket(s3, {"a//b": b"1", "/c": b"22", "e": b"4"})
    to = storages["sftp"].endpoint(here)
    assert function.copy(source, to).status_code == 200
    again = function.copy(source, to).json()
    assert again["totals"]["files"] == {"transferred": 0, "skipped": 3, "failed": 0}


def test_only_selected_keys_are_refused(function: Function, webdav: Storage, s3: Storage) -> None:
    here, source, _ = fill(s3, ("a/x.dat", "a//x.dat", "b/y.txt", "b//y.txt"))
    answer = function.copy(source, webdav.endpoint(here), selection={"include": ["*.txt"]})
    (error,) = answer.json()["result"]["errors"]
    assert [sample["path"] for sample in error["samples"]] == ["b//y.txt"]
    assert webdav.hashes(here) == {"b/y.txt": digest(b"content 2")}


def test_shards_refuse_the_same_key_as_the_whole(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    names = tuple(f"{n}{slash}b" for n in range(6) for slash in ("/", "//"))
    here, source, contents = fill(s3, names)
    lost = []
    for index in (1, 0, 2):
        answer = function.copy(
            source,
            webdav.endpoint(here),
            selection={"shard": {"index": index, "count": 3}},
        )
        errors = answer.json().get("result", {"errors": []})["errors"]
        assert {error["code"] for error in errors} <= {"name_refused"}
        lost += [sample["path"] for error in errors for sample in error["samples"]]
    assert sorted(lost) == [name for name in names if "//" in name][:6]
    assert webdav.hashes(here) == {
        name: digest(content) for name, content in contents.items() if "//" not in name
    } | {"alone": digest(ALONE)}


def test_object_store_keeps_the_keys_apart(function: Function, s3: Storage) -> None:
    names = ("README", "readme", "data/b.txt", "data//b.txt", "/data/b.txt", "dir", "dir/")
    here, source = bucket(s3, {name: name.encode() for name in names})
    answer = function.copy(source, s3.endpoint(here))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{here}") == s3.hashes(here)


@pytest.mark.field_case("D2")
@pytest.mark.parametrize("kind", ["s3", "wsgidav"])
def test_folder_that_rclone_takes_for_another_is_no_silent_loss(
    kind: str, function: Function, storages: dict[str, Storage], s3: Storage
) -> None:
    # It takes `data//` and `data/data/` for one folder of `data/`, and passes one over.
    files = {"data//b.txt": b"1", "data/data/c.txt": b"22", "plain": b"333"}
    here, source = bucket(s3, files)
    to = storages[kind]
    answer = function.copy(source, to.endpoint(here))
    (error,) = answer.json()["result"]["errors"]
    assert (answer.status_code, error["code"], error["count"]) == (502, "name_refused", 1)
    (sample,) = error["samples"]
    pair = {"data/", "data/data"}
    assert sample["path"] in pair
    (other,) = pair - {sample["path"]}
    assert repr(other) in sample["message"]
    assert len(to.hashes(f"{to.base}/{here}" if to.base else here)) == 2


def test_folder_that_rclone_cannot_list_is_named(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    here = uuid.uuid4().hex
    s3.fill(f"bucket/{here}", {"data/a.txt": b"1", "data/b.txt": b"22", "data//b.txt": b"333"})
    answer = function.copy(s3.endpoint(here), webdav.endpoint(here))
    (error,) = answer.json()["result"]["errors"]
    assert (answer.status_code, error["code"], error["count"]) == (502, "name_refused", 1)
    assert [sample["path"] for sample in error["samples"]] == ["data//"]
    assert webdav.hashes(here) == {"data/a.txt": digest(b"1"), "data/b.txt": digest(b"22")}


def test_plan_counts_a_key_whose_path_is_taken_as_an_error(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    here, source, _ = fill(s3, ("data/b.txt", "data//b.txt"))
    answer = function.post({"source": source, "destination": webdav.endpoint(here)}, "/plan")
    assert "name_refused" in answer.text
    assert webdav.hashes(here) == {}
