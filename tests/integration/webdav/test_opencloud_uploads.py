"""Uploads to an OpenCloud: what they send, and what they leave there; compared by hash."""

from __future__ import annotations

import os
import threading
from collections import Counter

import psutil
import pytest

from support import opencloud, service_process
from support.opencloud import OpenCloud
from support.opencloud.cloud import SignIn
from support.outcomes import checked_result
from support.service_process import Function
from support.stand_in.faults import Gathering
from support.stand_in.site import Cost
from support.storages import Storage, digest

# Seconds, a fifth of what the real server takes, so that requests overlap.
COST = Cost(start=0.001, work={"PUT": 0.01, "MKCOL": 0.005}, password=0.02, app_password=0.04)

VENDORS = pytest.mark.parametrize(
    "vendor",
    [
        "infinitescale",
        pytest.param("owncloud", marks=pytest.mark.slow),
        pytest.param("other", marks=pytest.mark.slow),
    ],
)


@pytest.fixture
def path(request: pytest.FixtureRequest) -> str:
    """A folder that belongs to this test alone."""
    return digest(request.node.name.encode())[:12]


def small(count: int, folders: int) -> dict[str, bytes]:
    return {f"d{number % folders}/f{number}": b"%d" % number * 50 for number in range(count)}


@pytest.mark.field_case("L3")
@VENDORS
def test_large_file_is_one_upload(
    vendor: str, function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    expected = s3.fill(f"bucket/{path}", {"large": os.urandom(24 << 20)})
    destination = ocis.storage(vendor=vendor).endpoint("to")
    answer = function.copy(s3.endpoint(path), destination, options={"verify": "checksum"})
    assert answer.status_code == 200, answer.text
    assert ocis.hashes("/to") == expected
    (put,) = ocis.seen("PUT")
    assert put.received == 24 << 20
    assert not ocis.seen("POST")
    assert len(ocis.seen()) <= 12


@pytest.mark.field_case("L3")
@pytest.mark.slow
def test_large_file_takes_little_memory(
    function: Function, ocis: OpenCloud, storages: dict[str, Storage], path: str
) -> None:
    # rclone's own uploads by tus held 1,386 MiB for a file of this size; these are streamed.
    source = storages["sftp"]
    content = os.urandom(1 << 20) * 512
    expected = source.fill(path, {"large": content})
    del content
    most = 0
    ended = threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.05):
            held = 0
            for process in function.family():
                try:
                    held += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            most = max(most, held)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        destination = ocis.storage().endpoint("to")
        request = {"source": source.endpoint(path), "destination": destination}
        answer = function.post(request, timeout=300)
    finally:
        ended.set()
        watching.join()
    assert answer.status_code == 200, answer.text
    assert ocis.hashes("/to") == expected
    assert len(ocis.seen("PUT")) == (0 if service_process.CHUNKS else 1)
    assert not ocis.uploads
    assert most < 320 << 20


@pytest.mark.field_case("L5")
@pytest.mark.parametrize(("by", "count"), [("password", 60), ("app", 40)])
def test_small_files_are_one_request_each_and_four_at_a_time(
    by: SignIn, count: int, function: Function, s3: Storage, path: str
) -> None:
    files = small(count, 6)
    expected = s3.fill(f"bucket/{path}", files)
    with opencloud.serving(cost=COST) as ocis:
        destination = ocis.storage(by=by).endpoint("a/to")
        answer = function.copy(s3.endpoint(path), destination, options={"transfers": 16})
        assert answer.status_code == 200, answer.text
        assert ocis.hashes("/a/to") == expected
        asked = Counter(one.method for one in ocis.requests if one.user)
        assert asked["PUT"] == count
        assert asked["MKCOL"] <= 9
        # Each folder is looked for, made, and listed once in the end.
        assert sum(asked.values()) <= count + 3 * 8
        assert ocis.most_at_once() <= 4


def test_small_files_by_bearer_token_are_more_at_a_time(
    function: Function, s3: Storage, path: str
) -> None:
    expected = s3.fill(f"bucket/{path}", small(60, 6))
    with opencloud.serving(cost=COST) as ocis:
        ocis.on_request = Gathering("PUT", 5)
        destination = ocis.storage().endpoint("to")
        answer = function.copy(s3.endpoint(path), destination, options={"transfers": 16})
        assert answer.status_code == 200, answer.text
        assert ocis.hashes("/to") == expected
        assert len(ocis.seen("PUT")) == 60
        assert ocis.most_at_once() > 4


@pytest.mark.parametrize("by", [pytest.param("password", marks=pytest.mark.slow), "app"])
def test_second_run_asks_once_a_folder(
    by: SignIn, function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    s3.fill(f"bucket/{path}", small(40, 5))
    destination = ocis.storage(by=by).endpoint("to")
    assert function.copy(s3.endpoint(path), destination).status_code == 200
    ocis.heal()
    again = function.copy(s3.endpoint(path), destination)
    assert again.json()["totals"]["files"]["skipped"] == 40
    asked = Counter(one.method for one in ocis.requests if one.user)
    assert set(asked) == {"PROPFIND"}
    assert asked["PROPFIND"] <= 8


def test_download_is_one_request_a_file(
    function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    ocis.archives = False  # each file has its GET
    expected = ocis.storage().fill("data", small(40, 5))
    source = ocis.storage(by="app").endpoint("data")
    answer = function.copy(source, s3.endpoint(path), options={"transfers": 16})
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{path}") == expected
    asked = Counter(one.method for one in ocis.requests if one.user)
    assert asked["GET"] == 40
    assert asked["PROPFIND"] <= 8
    assert ocis.most_at_once() <= 4


@pytest.mark.field_case("L7")
@VENDORS
@pytest.mark.parametrize("size", [4_000, 3_000_000])
def test_upload_beyond_the_quota_is_not_sent_and_the_old_file_stays(
    size: int, vendor: str, function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    s3.fill(f"bucket/{path}", {"f": b"x" * size})
    ocis.write("/to/f", b"old")
    ocis.write("/other", b"o" * 1_500_000)
    # With what is used it does not fit, although the quota alone is larger.
    ocis.user().space.quota = 1_500_000 + size // 2
    destination = ocis.storage(vendor=vendor).endpoint("to")
    answer = function.copy(s3.endpoint(path), destination)
    assert answer.status_code == 507, answer.text
    (error,) = checked_result(answer)["errors"]
    assert (error["code"], error["side"], error["retryable"]) == (
        "quota_exceeded",
        "destination",
        False,
    )
    assert ocis.hashes("/to") == {"f": digest(b"old")}
    assert not ocis.seen("DELETE")
    if size > 1 << 20:
        assert sum(one.received for one in ocis.seen("PUT")) == 0


def test_quota_of_a_space_counts_at_its_own_address(
    function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    s3.fill(f"bucket/{path}", {"f": b"x" * 3_000_000})
    space = ocis.add_space()
    space.quota = 2_000_000
    answer = function.copy(s3.endpoint(path), ocis.storage(space=space).endpoint("to"))
    assert answer.status_code == 507, answer.text
    assert answer.json()["code"] == "quota_exceeded"
    assert sum(one.received for one in ocis.seen("PUT")) == 0


def test_plan_knows_what_is_left_of_the_quota(
    function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    s3.fill(f"bucket/{path}", {"f": b"x" * 3_000})
    ocis.write("/other", b"o" * 8_000)
    ocis.user().space.quota = 10_000
    request = {"source": s3.endpoint(path), "destination": ocis.storage().endpoint("to")}
    answer = function.post(request, path="/plan")
    assert answer.status_code == 507, answer.text
    assert answer.json()["plan"]["free"] == 2_000
    ocis.user().space.quota = 12_000
    assert function.post(request, path="/plan").status_code == 200


def test_quota_counts_what_a_replaced_file_frees(
    function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    expected = s3.fill(f"bucket/{path}", {"f": b"x" * 2_500_000})
    ocis.write("/to/f", b"o" * 2_000_000)
    ocis.user().space.quota = 3_000_000
    answer = function.copy(s3.endpoint(path), ocis.storage().endpoint("to"))
    assert answer.status_code == 200, answer.text
    assert ocis.hashes("/to") == expected


@pytest.mark.field_case("L8")
@pytest.mark.parametrize(
    ("kind", "refuses"),
    [
        ("new", True),
        ("old", False),
        pytest.param("new", False, marks=pytest.mark.slow),
        pytest.param("old", True, marks=pytest.mark.slow),
    ],
)
def test_two_requests_to_one_folder_leave_each_file_whole(
    kind: str, refuses: bool, function: Function, s3: Storage, path: str
) -> None:
    one = {f"f{number}": os.urandom(300_000) for number in range(8)}
    two = {name: os.urandom(300_000) for name in one}
    s3.fill(f"bucket/{path}/1", one)
    s3.fill(f"bucket/{path}/2", two)
    with opencloud.serving(cost=COST) as ocis:
        ocis.refuses_races = refuses
        if kind == "old":
            ocis.storage().fill("to", dict.fromkeys(one, b"old"))
        answers: dict[str, tuple[int, str]] = {}

        def copy(number: str) -> None:
            destination = ocis.storage().endpoint("to")
            answer = function.copy(
                s3.endpoint(f"{path}/{number}"), destination, options={"overwrite": "always"}
            )
            answers[number] = (answer.status_code, answer.text)

        both = [threading.Thread(target=copy, args=(number,)) for number in ("1", "2")]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        assert {status for status, _ in answers.values()} == {200}, answers
        for name, found in ocis.hashes("/to").items():
            assert found in (digest(one[name]), digest(two[name]))
        assert len(ocis.hashes("/to")) == 8


def test_upload_that_lost_a_race_is_sent_again(
    function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    expected = s3.fill(f"bucket/{path}", {"a": os.urandom(500_000), "b": b"b"})
    ocis.fail("PUT", "*/to/*", opencloud.status(412), times=2)
    answer = function.copy(s3.endpoint(path), ocis.storage().endpoint("to"))
    assert answer.status_code == 200, answer.text
    assert ocis.hashes("/to") == expected


@pytest.mark.field_case("L14")
@pytest.mark.parametrize("verify", ["checksum", "size"])
def test_empty_file_keeps_its_time_and_is_not_sent_again(
    verify: str, function: Function, ocis: OpenCloud
) -> None:
    with opencloud.serving() as other:
        other.write("/data/empty", b"", mtime=1_500_000_000)
        other.write("/data/full", b"full", mtime=1_600_000_000)
        source, destination = other.storage().endpoint("data"), ocis.storage().endpoint("to")
        answer = function.copy(source, destination, options={"verify": verify})
        assert answer.status_code == 200, answer.text
        assert ocis.hashes("/to") == other.hashes("/data")
        empty = ocis.file("/to/empty")
        assert empty is not None
        assert empty.mtime == 1_500_000_000
        verification = answer.json()["verification"]
        assert (verification["mode"], verification["checked"]) == (verify, 2)
        again = function.copy(source, destination, options={"verify": verify})
        assert again.json()["totals"]["files"]["skipped"] == 2
        assert len(ocis.seen("PUT")) == 2


def test_changed_content_of_one_size_is_found_by_checksum(
    function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    expected = s3.fill(f"bucket/{path}", {"f": b"new"})
    ocis.write("/to/f", b"old")
    options = {"compare": "checksum", "verify": "checksum"}
    answer = function.copy(s3.endpoint(path), ocis.storage().endpoint("to"), options=options)
    assert answer.status_code == 200, answer.text
    assert answer.json()["verification"]["mode"] == "checksum"
    assert ocis.hashes("/to") == expected
