"""A destination is listed in few requests where a copy asks for much of it, and not for little."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Final

import pytest

from support import nextcloud, service_process
from support.nextcloud import Nextcloud
from support.service_process import Function
from support.stand_in.faults import Request
from support.storages import Storage

pytestmark = pytest.mark.skipif(
    not service_process.GATEWAY, reason="rclone asks for one folder at a time"
)
TO: Final = "/remote.php/dav/files/alice/to"
FOLDERS: Final = 50
FILES: Final = {f"{n % FOLDERS:02}/{n}.txt": b"%d" % n for n in range(100)}


@pytest.fixture
def cloud() -> Iterator[Nextcloud]:
    with nextcloud.serving() as running:
        yield running


def listings(cloud: Nextcloud, depth: str) -> list[Request]:
    return [one for one in cloud.seen("PROPFIND", f"{TO}*") if one.headers.get("Depth") == depth]


class TreeCopies:
    """TreeCopies of one tree to a Nextcloud that has all of it but `new`, with times of its own."""

    def __init__(
        self, function: Function, s3: Storage, cloud: Nextcloud, new: Iterable[str] = ()
    ) -> None:
        self.cloud = cloud
        self._function = function
        self._s3 = s3
        self._folder = uuid.uuid4().hex
        files = {**FILES, **dict.fromkeys(new, b"new")}
        self.whole = s3.fill(f"bucket/{self._folder}", files)
        for path, content in files.items():
            if path not in new:
                cloud.write(f"/to/{path}", content)

    def run(self, **members: Any) -> dict[str, Any]:
        options = {"compare": "size", "report": "all", "attempts": 1, **members.pop("options", {})}
        ends = self._s3.endpoint(self._folder), self.cloud.storage().endpoint("to")
        answer = self._function.copy(*ends, options=options, **members)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def test_second_copy_lists_most_folders_at_once(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    result = TreeCopies(function, s3, cloud).run()
    assert result["totals"]["files"] == {"transferred": 0, "skipped": 100, "failed": 0}
    assert len(listings(cloud, "infinity")) == 1
    # The folder itself, a quarter of those in it, and what was asked for at the same time.
    one_by_one = len(listings(cloud, "1"))
    assert one_by_one <= 2 * FOLDERS // 3
    assert result["rclone"]["bulk_listings"] >= FOLDERS - one_by_one


def test_copy_to_a_few_of_many_folders_lists_those(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    copies = TreeCopies(function, s3, cloud)
    result = copies.run(selection={"include": ["0[0-9]/**"]})
    assert result["totals"]["files"]["skipped"] == 20
    assert not listings(cloud, "infinity")
    assert len(listings(cloud, "1")) <= FOLDERS // 2
    assert "bulk_listings" not in result["rclone"]


def test_files_that_the_destination_lacks_arrive(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    """Also one in the first folder, and a new folder, while the tree is asked for."""
    new = ("new.txt", "99/new.txt", "49/new.txt", "48/48.txt")
    copies = TreeCopies(function, s3, cloud, new)
    result = copies.run(options={"verify": "download"})
    assert result["totals"]["files"]["transferred"] == 4
    assert cloud.hashes("to") == copies.whole


def test_another_clients_file_is_not_replaced(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    """It comes once the tree was listed, which says of the file that it is not there."""
    copies = TreeCopies(function, s3, cloud, ["49/49.txt"])
    theirs: list[str] = []

    def add(request: Request) -> None:
        is_upload = request.method in ("PUT", "POST")
        if is_upload and not theirs:
            theirs.append("49/49.txt")
            cloud.write("/to/49/49.txt", b"old")

    cloud.on_request = add
    copies.run()
    assert theirs
    assert cloud.hashes("to") == copies.whole
    # The server told that another file had come, and rclone looked at it before it replaced it.
    assert cloud.statuses("PUT", f"{TO}/49/49.txt")[412] == 1
