"""More small files are in flight than a Nextcloud gets requests, where it takes many in one."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from support import nextcloud, service_process
from support.nextcloud import Nextcloud
from support.nextcloud_downloads import fill
from support.service_process import Function
from support.stand_in.faults import Request, most_at_once
from support.storages import Storage
from support.watching import WatchedMemory

pytestmark = pytest.mark.skipif(
    not (service_process.GATEWAY and service_process.ARCHIVES and service_process.BULK),
    reason="without the gateway, or with its ways switched off, each file has its requests",
)
MIB: Final = 1 << 20
FROM: Final = "/remote.php/dav/files/alice/from"
FILES: Final = {f"{n % 5}/{n}.txt": b"%d" % n * (n % 90) for n in range(200)}
FEW: Final = 16
SECONDS: Final = 0.05


@pytest.fixture
def cloud() -> Iterator[Nextcloud]:
    work = {"GET": SECONDS, "PUT": SECONDS}
    with nextcloud.serving(cost=nextcloud.Cost(work=work)) as running:
        yield running


def tuned(answer: Any) -> dict[str, int]:
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["rclone"]["tuning"])


def down(function: Function, cloud: Nextcloud, s3: Storage, **options: Any) -> Any:
    folder = uuid.uuid4().hex
    ends = cloud.storage().endpoint("from"), s3.endpoint(folder)
    answer = function.copy(*ends, options={"attempts": 1, **options})
    assert s3.hashes(f"bucket/{folder}") == cloud.hashes("from")
    return answer


def up(function: Function, cloud: Nextcloud, s3: Storage, **options: Any) -> Any:
    folder = uuid.uuid4().hex
    whole = s3.fill(f"bucket/{folder}", FILES)
    ends = s3.endpoint(folder), cloud.storage().endpoint("to")
    answer = function.copy(*ends, options={"attempts": 1, **options})
    assert cloud.hashes("to") == whole
    return answer


@pytest.mark.slow
def test_downloads_are_more_than_requests(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    fill(cloud, FILES)
    answer = down(function, cloud, s3)
    assert tuned(answer)["transfers"] == 64
    assert tuned(answer)["checkers"] == FEW
    gets = cloud.seen("GET", f"{FROM}*")
    assert answer.json()["rclone"]["bulk_downloads"] >= 100
    assert len(gets) <= 110
    assert most_at_once(gets) <= FEW


def test_uploads_are_more_than_requests(function: Function, cloud: Nextcloud, s3: Storage) -> None:
    answer = up(function, cloud, s3)
    assert tuned(answer)["transfers"] == 64
    assert answer.json()["rclone"]["bulk_uploads"] >= 100
    posts, puts = cloud.seen("POST"), cloud.seen("PUT")
    assert len(posts) + len(puts) <= 110
    assert len(cloud.seen("*", "/ocs/v2.php/*")) == 1


def test_servers_that_take_files_one_by_one_get_as_many_as_before(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    cloud.bulk = False
    answer = up(function, cloud, s3)
    assert tuned(answer)["transfers"] == FEW
    assert "bulk_uploads" not in answer.json()["rclone"]
    assert len(cloud.seen("PUT")) == len(FILES)


def test_zips_that_are_refused_leave_no_more_requests_at_a_time(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    """The version says that there are zips, and the server makes none."""
    fill(cloud, FILES)
    cloud.archives = False
    answer = down(function, cloud, s3)
    assert "bulk_downloads" not in answer.json()["rclone"]
    gets = [one for one in cloud.seen("GET", f"{FROM}/*") if "accept=zip" not in one.target]
    assert len(gets) == len(FILES)
    assert most_at_once(gets) <= FEW


@pytest.mark.parametrize("transfers", [1, 64])
def test_named_number_of_transfers_is_what_the_caller_gets(
    transfers: int, function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    fill(cloud, dict([*FILES.items()][:40]))
    cloud.archives = False
    answer = down(function, cloud, s3, transfers=transfers)
    assert tuned(answer)["transfers"] == transfers
    gets = [one for one in cloud.seen("GET", f"{FROM}/*") if "accept=zip" not in one.target]
    assert most_at_once(gets) <= transfers


def test_many_large_files_are_no_more_at_a_time_than_before(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    large = {f"large/{n}.bin": bytes([n]) * (8 * MIB) for n in range(5)}
    fill(cloud, FILES | large)
    answer = down(function, cloud, s3)
    assert tuned(answer)["transfers"] == FEW


def test_few_large_files_do_not_hold_back_small_ones(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    large = {f"large/{n}.bin": bytes([n]) * (8 * MIB) for n in range(4)}
    fill(cloud, FILES | large)
    answer = down(function, cloud, s3)
    assert tuned(answer)["transfers"] == 64
    assert most_at_once(cloud.seen("GET", f"{FROM}*")) <= FEW


@pytest.mark.slow
def test_dry_run_and_listed_files_ask_for_no_more(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    whole = fill(cloud, FILES)
    folder = uuid.uuid4().hex
    ends = cloud.storage().endpoint("from"), s3.endpoint(folder)
    answer = function.copy(*ends, options={"dry_run": True})
    assert tuned(answer)["transfers"] == FEW
    files = [{"path": name, "size": len(content)} for name, content in FILES.items()]
    answer = function.copy(*ends, selection={"files": files})
    assert tuned(answer)["transfers"] == FEW
    assert s3.hashes(f"bucket/{folder}") == whole


@pytest.mark.slow
def test_files_in_flight_fit_into_the_memory_of_a_small_function(
    cloud: Nextcloud, s3: Storage, tmp_path: Path
) -> None:
    """100 files of 1 MiB, which go one by one, and as many small ones between them."""
    files = {f"{n % 3}/{n}.bin": bytes([n]) * MIB for n in range(100)}
    files |= {f"{n % 3}/{n}.txt": bytes([n]) * (128 << 10) for n in range(100)}
    whole = fill(cloud, files)
    (tmp_path / "run").mkdir()
    with (
        service_process.function(
            tmp_path / "run", WEBDAV_GATEWAY="1", MEMORY_BYTES=str(352 * MIB)
        ) as small,
        nextcloud.serving() as other,
    ):
        ends = cloud.storage().endpoint("from"), other.storage().endpoint("to")
        with WatchedMemory(small) as watched:
            answer = small.copy(*ends, options={"attempts": 1})
        assert tuned(answer)["transfers"] == 64
        assert other.hashes("to") == whole
        small.wait_clean()
    assert watched.both < 512 * MIB, watched.both


def test_sign_in_by_password_keeps_its_limit(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    fill(cloud, FILES)
    folder = uuid.uuid4().hex
    source = cloud.storage().endpoint("from", **{"pass": cloud.user().password})
    cloud.on_request = _refuse_zips
    answer = function.copy(source, s3.endpoint(folder))
    assert tuned(answer)["transfers"] == 64
    gets = [one for one in cloud.seen("GET", f"{FROM}/*") if "accept=zip" not in one.target]
    assert most_at_once(gets) <= 4


def _refuse_zips(request: Request) -> nextcloud.Fault | None:
    return nextcloud.status(403) if "accept=zip" in request.target else None
