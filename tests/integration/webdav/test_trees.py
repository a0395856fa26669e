"""The folders of a Nextcloud are listed in a few requests, and each file arrives all the same."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from support import nextcloud, service_process
from support.nextcloud import Nextcloud
from support.nextcloud_downloads import copy, fill
from support.service_process import Function
from support.stand_in.faults import Request
from support.storages import Storage

pytestmark = pytest.mark.skipif(
    not service_process.GATEWAY, reason="rclone asks for one folder at a time"
)
FROM: Final = "/remote.php/dav/files/alice/from"
FILES: Final = {f"{n // 4:02}/{n % 2}/{n}.txt": b"%d" % n * (n % 90) for n in range(160)}
FOLDERS: Final = 1 + 40 + 80


@pytest.fixture
def cloud() -> Iterator[Nextcloud]:
    with nextcloud.serving() as running:
        yield running


def listings(cloud: Nextcloud, *depths: str) -> list[Request]:
    return [one for one in cloud.seen("PROPFIND", f"{FROM}*") if _depth_of(one) in depths]


def _depth_of(request: Request) -> str:
    return request.headers.get("Depth", "")


def test_whole_tree_is_listed_at_once(function: Function, cloud: Nextcloud, s3: Storage) -> None:
    whole = fill(cloud, FILES)
    answer, arrived = copy(function, cloud, s3)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    assert len(listings(cloud, "infinity")) == 1
    # The first folder, and those that were asked for at the same time as the third.
    one_by_one = len(listings(cloud, "1"))
    assert one_by_one <= 20
    assert answer.json()["rclone"]["bulk_listings"] >= FOLDERS - one_by_one


def test_few_folders_are_listed_one_by_one(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    whole = fill(cloud, {"a/1": b"1", "2": b"2"})
    answer, arrived = copy(function, cloud, s3)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    assert not listings(cloud, "infinity")


def test_verification_and_second_copy_ask_the_server_again(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    """A file that comes between the copy and the verification is found to be missing."""
    fill(cloud, FILES)
    folder = uuid.uuid4().hex
    asked: list[int] = []

    def add(request: Request) -> None:
        if request.method == "GET" and request.path.startswith(FROM) and not asked:
            asked.append(1)
            cloud.write("/from/39/1/new.txt", b"new")

    cloud.on_request = add
    answer, _ = copy(function, cloud, s3, folder, verify="size")
    assert answer.json()["result"]["verification"]["missing"] == 1, answer.text
    cloud.on_request = lambda _: None
    answer, arrived = copy(function, cloud, s3, folder)
    assert answer.json()["totals"]["files"]["transferred"] == 1
    assert arrived == cloud.hashes("from")


def _without(*names: str) -> Callable[[list[str]], list[str]]:
    return lambda entries: [
        one for one in entries if not any(f"{name}</d:href>" in one for name in names)
    ]


def _below(name: str) -> Callable[[list[str]], list[str]]:
    return lambda entries: [one for one in entries if f"/from/{name}/" not in one]


LIES: Final[dict[str, Callable[[list[str]], list[str]]]] = {
    "as at depth 1": lambda its: [one for one in its if _depth(one) <= 1],
    "lacks a folder": _below("07"),
    "lacks a folder's folder": _below("07/1"),
    "lacks what is in a folder": lambda its: [
        one for one in its if "/from/07/1/" not in one or "/from/07/1/</d:href>" in one
    ],
    "lacks a file": _without("/07/1/29.txt"),
    "lacks the folder itself": lambda its: its[1:],
    "twice": lambda its: [*its, *its],
    "elsewhere": lambda its: [one.replace("/from/", "/other/") for one in its],
    "nothing": lambda _: [],
    "folder late": lambda its: [its[0], *reversed(its[1:])],
    "added": lambda its: [
        *its,
        its[-1].replace("</d:href>", "x</d:href>"),
    ],
}


def _depth(entry: str) -> int:
    href = entry.partition("<d:href>")[2].partition("</d:href>")[0]
    return len(href.removeprefix(FROM).strip("/").split("/")) if href != f"{FROM}/" else 0


@pytest.mark.parametrize("lie", LIES)
def test_every_file_arrives_whatever_the_tree_lacks(
    lie: str, function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    whole = fill(cloud, FILES)
    cloud.on_tree = LIES[lie]
    answer, arrived = copy(function, cloud, s3)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    assert len(listings(cloud, "infinity")) == 1


@pytest.mark.parametrize(
    "fault",
    [
        nextcloud.status(403, b"<d:error><d:propfind-finite-depth/></d:error>"),
        nextcloud.status(507),
        nextcloud.status(500),
        nextcloud.status(200, b"<!DOCTYPE html>", Content_Type="text/html"),
        nextcloud.truncate(after=5000),
        nextcloud.reset(after=5000),
    ],
    ids=["403", "507", "500", "page", "cut off", "reset"],
)
def test_refused_tree_is_listed_folder_by_folder(
    fault: nextcloud.Fault, function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    whole = fill(cloud, FILES)
    cloud.on_request = lambda request: (
        fault if request.method == "PROPFIND" and _depth_of(request) == "infinity" else None
    )
    answer, arrived = copy(function, cloud, s3)
    assert answer.status_code == 200, answer.text
    assert arrived == whole
    assert 1 <= len(listings(cloud, "infinity")) <= 2
    assert len(listings(cloud, "1")) >= FOLDERS


@pytest.mark.slow
def test_huge_tree_is_given_up(function: Function, cloud: Nextcloud, s3: Storage) -> None:
    files = {f"{n // 100:03}/{n}.txt": b"" for n in range(6000)}
    whole = fill(cloud, files)
    folder = uuid.uuid4().hex
    ends = cloud.storage().endpoint("from"), s3.endpoint(folder)
    answer = function.copy(*ends, selection={"include": ["00[0-9]/*0.txt"]})
    assert answer.status_code == 200, answer.text
    wanted = {name: told for name, told in whole.items() if name < "010" and name[-5] == "0"}
    assert s3.hashes(f"bucket/{folder}") == wanted
    assert len(listings(cloud, "infinity")) <= 1
