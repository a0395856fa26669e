"""Requests that an OpenCloud refuses: which cause a caller is given, after how many requests."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from support import opencloud
from support.opencloud import OpenCloud
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage, digest


@pytest.fixture
def path(request: pytest.FixtureRequest) -> str:
    """A folder that belongs to this test alone."""
    return digest(request.node.name.encode())[:12]


def files(count: int) -> dict[str, bytes]:
    return {f"d{number % 4}/f{number}": b"%d" % number * 50 for number in range(count)}


def group(answer: Any) -> dict[str, Any]:
    """The only group of errors."""
    (error,) = checked_result(answer)["errors"]
    assert isinstance(error, dict)
    return error


@pytest.mark.field_case("L9")
def test_token_that_ends_while_files_go_up_is_one_cause(
    function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    # Before, each of the files left cost a request that was answered by 401.
    expected = s3.fill(f"bucket/{path}", files(120))

    def expire(_: opencloud.Request) -> None:
        if ocis.statuses("PUT")[201] >= 20:
            ocis.expire_tokens()

    ocis.on_request = expire
    answer = function.copy(s3.endpoint(path), ocis.storage().endpoint("to"))
    assert answer.status_code == 502, answer.text
    assert answer.json()["code"] == "partial"
    error = group(answer)
    assert (error["code"], error["side"]) == ("authentication_failed", "destination")
    assert ocis.statuses()[401] <= 16 + 1
    result = answer.json()["result"]
    arrived = ocis.hashes("/to")
    # A request that was under way when the token was refused may have been served all the same,
    # and so may one whose answer came when the copy had ended: 16 of the first 20.
    assert 4 <= result["totals"]["files"]["transferred"] <= len(arrived) < 120
    assert len(arrived) >= 20
    assert arrived.items() <= expected.items()


@pytest.mark.field_case("L9", variant="the token ends during a download")
def test_token_that_ends_while_files_come_down_is_one_cause(
    function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    ocis.archives = False  # each file has its GET
    ocis.storage().fill("data", files(120))

    def expire(_: opencloud.Request) -> None:
        if ocis.statuses("GET", "*/data/*")[200] >= 20:
            ocis.expire_tokens()

    ocis.on_request = expire
    answer = function.copy(ocis.storage().endpoint("data"), s3.endpoint(path))
    assert answer.status_code == 502, answer.text
    error = group(answer)
    assert (error["code"], error["side"]) == ("authentication_failed", "source")
    assert ocis.statuses()[401] <= 16 + 1


@pytest.mark.parametrize("side", ["source", "destination"])
def test_token_that_had_ended_before_is_used_once(
    side: str, function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    s3.fill(f"bucket/{path}", {"f": b"f"})
    ends = [ocis.storage().endpoint("data"), s3.endpoint(path)]
    ocis.expire_tokens()
    source, destination = ends if side == "source" else reversed(ends)
    answer = function.copy(source, destination)
    assert answer.status_code == 422, answer.text
    error = group(answer)
    assert (error["code"], error["side"]) == ("authentication_failed", side)
    assert ocis.statuses()[401] == 1


@pytest.mark.field_case("L10", variant="a name of 256 bytes")
@pytest.mark.parametrize("name", ["back\\slash", "l" * 256], ids=["backslash", "long"])
def test_name_that_is_refused_is_told_as_that(
    name: str, function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    s3.fill(f"bucket/{path}", {"good": b"g", name: b"bad"})
    answer = function.copy(s3.endpoint(path), ocis.storage().endpoint("to"))
    assert answer.status_code == 502, answer.text
    assert answer.json()["code"] == "partial"
    error = group(answer)
    assert (error["code"], error["side"], error["retryable"]) == (
        "name_refused",
        "destination",
        False,
    )
    assert [sample["path"] for sample in error["samples"]] == [name]
    assert ocis.hashes("/to") == {"good": digest(b"g")}


def test_folder_name_that_is_refused_is_told_as_that(
    function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    s3.fill(f"bucket/{path}", {"good": b"g", "back\\slash/f": b"bad", "back\\slash/sub/f": b"b"})
    answer = function.copy(s3.endpoint(path), ocis.storage().endpoint("to"))
    error = group(answer)
    assert (error["code"], error["side"], error["count"]) == ("name_refused", "destination", 2)
    assert ocis.hashes("/to") == {"good": digest(b"g")}


ADDRESSES = [
    "/dav/files/nobody",
    pytest.param("/remote.php/dav/files/bob", marks=pytest.mark.slow),
    "/dav/spaces/no$such",
]


@pytest.mark.field_case("L11")
@pytest.mark.parametrize("address", ADDRESSES)
def test_destination_of_another_or_of_nobody_is_told_at_the_address(
    address: str, function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    ocis.add_user("bob", "bobs-password")
    s3.fill(f"bucket/{path}", files(40))
    answer = function.copy(s3.endpoint(path), ocis.storage(address=address).endpoint("to"))
    assert answer.status_code == 422, answer.text
    error = group(answer)
    assert error["side"] == "destination"
    assert address in error["samples"][0]["message"]
    assert error["count"] == 1
    assert not ocis.seen("PUT")
    assert len(ocis.seen()) <= 12


@pytest.mark.field_case("L11")
@pytest.mark.parametrize("address", ADDRESSES)
def test_source_of_another_or_of_nobody_is_told_at_the_address(
    address: str, function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    ocis.add_user("bob", "bobs-password")
    answer = function.copy(ocis.storage(address=address).endpoint("data"), s3.endpoint(path))
    assert answer.status_code == 422, answer.text
    error = group(answer)
    assert (error["code"], error["side"]) == ("source_not_found", "source")
    assert address in error["samples"][0]["message"]


@pytest.mark.field_case("L13")
@pytest.mark.parametrize(
    "vendor", ["infinitescale", pytest.param("owncloud", marks=pytest.mark.slow)]
)
@pytest.mark.slow
def test_deadline_in_the_middle_of_an_upload_is_told_as_that(
    vendor: str, function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    s3.fill(f"bucket/{path}", {"f": b"f" * 8_000_000, "g": b"g"})
    ocis.write("/to/f", b"old")
    ocis.fail("PUT", "*/f", opencloud.stall(1_000_000))
    began = time.monotonic()
    answer = function.copy(
        s3.endpoint(path),
        ocis.storage(vendor=vendor).endpoint("to"),
        options={"deadline_seconds": 5},
    )
    assert time.monotonic() - began < 5 + 8
    assert answer.status_code == 504, answer.text
    assert (answer.json()["code"], answer.json()["retryable"]) == ("incomplete", True)
    assert checked_result(answer)["state"] == "incomplete"
    assert ocis.hashes("/to") == {"f": digest(b"old"), "g": digest(b"g")}
    ocis.ended.set()
    ocis.heal()
    again = function.copy(s3.endpoint(path), ocis.storage(vendor=vendor).endpoint("to"))
    assert again.status_code == 200, again.text
    assert ocis.hashes("/to")["f"] == digest(b"f" * 8_000_000)


@pytest.mark.field_case("L6")
def test_caller_that_hangs_up_leaves_the_old_file(
    function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    s3.fill(f"bucket/{path}", {"f": b"f" * 8_000_000})
    ocis.write("/to/f", b"old")
    ocis.fail("PUT", "*/f", opencloud.stall(1_000_000))
    request = {"source": s3.endpoint(path), "destination": ocis.storage().endpoint("to")}
    reading = function.events(request)

    def read() -> None:
        for _ in reading:
            if any(one.received >= 1_000_000 for one in ocis.seen("PUT")):
                break

    thread = threading.Thread(target=read)
    thread.start()
    thread.join(30)
    reading.close()
    function.wait_clean(20)
    assert ocis.hashes("/to") == {"f": digest(b"old")}
    assert not ocis.seen("DELETE")


def test_third_upload_of_one_time_is_the_servers_error(
    function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    # It keeps a version for each time of a file, and refuses a second one of the same time.
    ocis.write("/to/f", b"0", mtime=1_700_000_000)
    found = ocis.file("/to/f")
    assert found is not None
    found.versions.add(1_700_000_000)
    s3.fill(f"bucket/{path}", {"f": b"new", "g": b"g"})
    answer = function.copy(s3.endpoint(path), ocis.storage().endpoint("to"))
    assert answer.status_code == 502, answer.text
    error = group(answer)
    assert (error["code"], error["side"]) == ("storage_error", "destination")
    assert ocis.hashes("/to") == {"f": digest(b"0"), "g": digest(b"g")}
