"""Transfers into a Nextcloud whose files and names are in the way: the old file is never lost."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Final

import pytest

from support import nextcloud
from support.faulty_webdav import Faulty
from support.nextcloud import Nextcloud, errors, faults
from support.service_process import Function
from support.storages import Storage, digest

MIB: Final = 1 << 20
SLOW: Final = pytest.mark.slow


def only_error(answer: Any) -> dict[str, Any]:
    (error,) = answer.json()["result"]["errors"]
    return dict(error)


REFUSALS: Final = {
    "413": nextcloud.status(413),
    "415": faults.error(errors.unsupported_media("Not this type.")),
    "500": nextcloud.status(500),
    "502": nextcloud.status(502),
    "504": nextcloud.status(504),
    "507": faults.error(errors.insufficient_storage("/to/f", 14, 3)),
    "locked": faults.error(errors.locked("/to/f")),
    "403": faults.error(errors.forbidden("Read only.")),
}


def cases() -> list[Any]:
    """Each refusal of a small and of a large upload; those of large ones are mostly slow tests."""
    small = [pytest.param(14, one, marks=SLOW if one == "locked" else ()) for one in REFUSALS]
    fast = ("413", "507")
    return small + [
        pytest.param(300_000, one, marks=() if one in fast else SLOW) for one in REFUSALS
    ]


@pytest.mark.field_case("J1")
@pytest.mark.parametrize(("size", "refusal"), cases())
def test_upload_over_an_old_file_that_is_refused_leaves_the_old_file(
    refusal: str, size: int, function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    # rclone sends a DELETE after each PUT that failed.
    base = f"old-file/{refusal.replace(' ', '-')}/{size}"
    s3.fill(f"bucket/{base}", {"f": os.urandom(size)})
    cloud.write("/to/f", b"old")
    fileid = cloud.user().tree.find("/to/f")
    # A large file goes up in chunks, and a small one by one PUT.
    cloud.fail("PUT", "*/to/f", REFUSALS[refusal])
    cloud.fail("PUT", "*/uploads/*", REFUSALS[refusal])
    answer = function.copy(
        s3.endpoint(base), cloud.storage().endpoint("to"), options={"attempts": 1}
    )
    assert answer.status_code != 200
    assert only_error(answer)["side"] == "destination"
    assert cloud.hashes("to") == {"f": digest(b"old")}
    assert cloud.user().tree.find("/to/f") is fileid
    assert not cloud.seen("DELETE", "*/to/f")
    assert not cloud.user().uploads


@pytest.mark.parametrize(("size", "cut"), [(100_000, 50_000), (300_000, 100_000)])
def test_upload_over_an_old_file_that_is_cut_off_leaves_the_old_file(
    size: int, cut: int, function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    # Nextcloud itself writes over the old file in place.
    base = f"cut/{size}"
    s3.fill(f"bucket/{base}", {"f": os.urandom(size)})
    cloud.write("/to/f", b"old")
    cloud.fail("PUT", "*", nextcloud.reset(cut))
    answer = function.copy(
        s3.endpoint(base), cloud.storage().endpoint("to"), options={"attempts": 1}
    )
    assert answer.status_code != 200
    assert only_error(answer)["code"] == "storage_unreachable"
    assert cloud.hashes("to") == {"f": digest(b"old")}
    assert not cloud.user().uploads


@pytest.mark.parametrize("release", ["32", "without chunks", "old address"])
@pytest.mark.parametrize("cut", [None, 50_000])
def test_files_below_a_public_link_are_replaced_safely(
    cut: int | None, release: str, function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    base = f"link/{release}/{cut}"
    expected = s3.fill(f"bucket/{base}", {"small": os.urandom(100_000), "f": os.urandom(300_000)})
    old = {"small": digest(b"old"), "f": digest(b"old")}
    for name in old:
        cloud.write(f"/shared/{name}", b"old")
    link = cloud.link("/shared", writable=True)
    parameters = {"url": f"{cloud.url}/public.php/dav/files/{link.token}", "vendor": "nextcloud"}
    if release == "old address":
        parameters |= {"url": f"{cloud.url}/public.php/webdav", "user": link.token}
    if release == "without chunks":
        cloud.fail("MKCOL", "*/uploads/*", nextcloud.status(404))
    if cut is not None:
        cloud.fail("PUT", "*", nextcloud.reset(cut))
    to = {"type": "webdav", "parameters": parameters, "path": ""}
    answer = function.copy(s3.endpoint(base), to, options={"attempts": 1})
    assert (answer.status_code == 200) is (cut is None), answer.text
    assert cloud.hashes("shared") == (expected if cut is None else old)


@pytest.mark.field_case("J1", variant="413, 502 and 507 at the MOVE of chunks")
@pytest.mark.parametrize("code", [413, 502, 507])
def test_chunks_that_cannot_be_assembled_leave_the_old_file(
    code: int, function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    base = f"assembly/{code}"
    s3.fill(f"bucket/{base}", {"f": os.urandom(300_000)})
    cloud.write("/to/f", b"old")
    cloud.fail("MOVE", "*", nextcloud.status(code))
    answer = function.copy(
        s3.endpoint(base), cloud.storage().endpoint("to"), options={"attempts": 1}
    )
    assert answer.status_code != 200
    assert cloud.hashes("to") == {"f": digest(b"old")}
    # A bare 502 is a proxy's: Nextcloud may still read the chunks. A later transfer removes them.
    may_be_read = code == 502
    warned = [group["code"] for group in answer.json()["result"].get("warnings", [])]
    assert warned == (["partial_left"] if may_be_read else [])
    assert bool(cloud.user().uploads) is may_be_read


@pytest.mark.field_case("J2")
@pytest.mark.parametrize(
    ("size", "old"),
    [
        (100_000, b"old"),
        (30 * MIB, b"old"),
        pytest.param(100_000, None, marks=SLOW),
        pytest.param(30 * MIB, None, marks=SLOW),
    ],
)
def test_two_transfers_to_one_path_never_mix(
    size: int, old: bytes | None, function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    # rclone alone: chunks of both go to one folder, whose name it derives from the path.
    base = f"two/{size}/{old is None}"
    contents = [os.urandom(size), os.urandom(size)]
    for number, content in enumerate(contents):
        s3.write(f"bucket/{base}/{number}/f", content)
    if old is not None:
        cloud.write("/to/f", old)
    answers: dict[int, Any] = {}
    cloud.fail("PUT", "*", nextcloud.delay(0.7))

    def send(number: int) -> None:
        answers[number] = function.copy(
            s3.endpoint(f"{base}/{number}"), cloud.storage().endpoint("to")
        )

    senders = [threading.Thread(target=send, args=(number,)) for number in range(2)]
    senders[0].start()
    until = time.monotonic() + 20
    while not cloud.seen("PUT"):
        assert time.monotonic() < until
        time.sleep(0.005)
    senders[1].start()
    for sender in senders:
        sender.join(60)
    (stored,) = cloud.hashes("to").values()
    hashes = [digest(content) for content in contents]
    assert stored in hashes
    # The transfer whose file is there succeeded. The other one was replaced, or was told.
    assert answers[hashes.index(stored)].status_code == 200, answers
    other = answers[1 - hashes.index(stored)]
    assert other.status_code == 200 or only_error(other)["retryable"], other.text
    assert not cloud.user().uploads


@pytest.mark.field_case("J13")
@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        (".htaccess", "name_refused"),
        ("dir.part/x", "name_refused"),
        ("x.filepart", "name_refused"),
        ("back\\slash", "name_refused"),
        ("deep/" + "n" * 251, "name_refused"),
    ],
)
def test_name_that_nextcloud_refuses_is_told_and_the_others_arrive(
    refused: str, expected: str, function: Function, cloud: Nextcloud, dav: Faulty
) -> None:
    dav.fill("data", {refused: b"x", "good": b"y", "deep/good": b"z"})
    answer = function.copy(dav.storage.endpoint("data"), cloud.storage().endpoint("to"))
    error = only_error(answer)
    assert answer.json()["code"] == "partial"
    assert (error["code"], error["side"]) == (expected, "destination")
    assert error["retryable"] is False
    assert [sample["path"] for sample in error["samples"]] == [refused]
    assert cloud.hashes("to") == {"good": digest(b"y"), "deep/good": digest(b"z")}
    assert answer.json()["result"]["attempts"] == 1


@pytest.mark.field_case("J15")
@pytest.mark.parametrize(
    ("modified", "size"), [(-520_000_000, 10), (-1, 300_000), (1, 10), (86_400, 300_000)]
)
def test_time_before_1970_01_03_is_left_out_with_a_warning(
    modified: int, size: int, function: Function, cloud: Nextcloud, dav: Faulty
) -> None:
    # Nextcloud refuses the file because of its time, once all of it was sent.
    content = os.urandom(size)
    dav.fill("data", {"f": content, "new": b"y"})
    dav.store("/data/f", content, modified)
    cloud.write("/to/f", b"old")
    answer = function.copy(dav.storage.endpoint("data"), cloud.storage().endpoint("to"))
    assert answer.status_code == 200, answer.text
    (warning,) = answer.json()["warnings"]
    assert (warning["code"], warning["count"]) == ("time_not_kept", 1)
    assert [sample["path"] for sample in warning["samples"]] == ["f"]
    assert cloud.hashes("to") == {"f": digest(content), "new": digest(b"y")}
    assert not [one for one in cloud.seen("PUT") if one.status >= 400]


def test_time_of_1970_01_03_is_kept(function: Function, cloud: Nextcloud, dav: Faulty) -> None:
    dav.fill("data", {"f": b"x"})
    dav.store("/data/f", b"x", 86_401)
    answer = function.copy(dav.storage.endpoint("data"), cloud.storage().endpoint("to"))
    assert answer.status_code == 200, answer.text
    assert "warnings" not in answer.json()
    kept = cloud.user().tree.find("/to/f")
    assert kept is not None
    assert kept.mtime == 86_401
