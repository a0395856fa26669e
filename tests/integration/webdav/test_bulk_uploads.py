"""Small new files go to a Nextcloud in bulk requests, and each is answered for by itself."""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from support import nextcloud, service_process
from support.nextcloud import Nextcloud
from support.nextcloud.tree import File
from support.service_process import Function
from support.storages import Storage

pytestmark = pytest.mark.skipif(
    not service_process.GATEWAY or not service_process.BULK,
    reason="without the gateway, or with bulk uploads switched off, nothing is sent in bulk",
)
BULK: Final = "/remote.php/dav/bulk"
CAPABILITIES: Final = "/ocs/v2.php/cloud/capabilities"
FILES: Final = {f"{n % 5}/{n}.txt": b"%d" % n for n in range(60)}
Told = dict[str, Any]


@pytest.fixture
def cloud() -> Iterator[Nextcloud]:
    """A Nextcloud as it is delivered: with bulk uploads.

    A PUT takes so long that others arrive meanwhile, however slow the machine is.
    """
    with nextcloud.serving(cost=nextcloud.Cost(work={"PUT": 0.05})) as running:
        yield running


def copy(
    function: Function,
    s3: Storage,
    cloud: Nextcloud,
    files: dict[str, bytes] = FILES,
    **options: Any,
) -> tuple[Any, dict[str, str]]:
    folder = uuid.uuid4().hex
    whole = s3.fill(f"bucket/{folder}", files)
    options = {"report": "all", "attempts": 1, **options}
    answer = function.copy(s3.endpoint(folder), cloud.storage().endpoint("to"), options=options)
    return answer, whole


def result(answer: Any) -> Told:
    body = answer.json()
    return dict(body.get("result", body))


def in_bulk(answer: Any) -> int:
    return int(result(answer)["rclone"].get("bulk_uploads", 0))


def puts(cloud: Nextcloud) -> set[str]:
    inside = "/remote.php/dav/files/alice/to/"
    return {one.path.removeprefix(inside) for one in cloud.seen("PUT") if one.status == 201}


def test_new_files_go_in_bulk(function: Function, s3: Storage, cloud: Nextcloud) -> None:
    folder = uuid.uuid4().hex
    whole = s3.fill(f"bucket/{folder}", FILES)
    ends = s3.endpoint(folder), cloud.storage().endpoint("to")
    answer = function.copy(*ends)
    assert answer.status_code == 200, answer.text
    assert cloud.hashes("to") == whole
    # A file that is alone for a moment is not held back.
    assert in_bulk(answer) == len(FILES) - len(puts(cloud)) >= 20
    assert len(cloud.seen("POST", BULK)) <= 20
    assert len(cloud.seen("*", CAPABILITIES)) == 1
    # Their times are kept: nothing is copied again.
    cloud.heal()
    again = function.copy(*ends)
    assert result(again)["totals"]["files"] == {"transferred": 0, "skipped": 60, "failed": 0}
    assert not cloud.seen("PUT")
    assert not cloud.seen("POST")


def test_verification_by_content_finds_them_right(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    answer, whole = copy(function, s3, cloud, verify="download")
    assert answer.status_code == 200, answer.text
    assert in_bulk(answer) >= 20
    assert result(answer)["verification"]["checked"] == len(whole)


def test_odd_names_and_empty_files_arrive(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    names = ["ä ☃ #%?&.txt", "%41.txt", "a:b;c=d", "e\u0301", "  lead", "'\"", "x" * 200, "日本"]
    files = {f"{name}/{name}{n}": b"" if n else b"1" for name in names for n in range(4)}
    answer, whole = copy(function, s3, cloud, files)
    assert answer.status_code == 200, answer.text
    assert sorted(cloud.hashes("to").values()) == sorted(whole.values())
    assert in_bulk(answer)


def test_existing_files_are_never_replaced_in_bulk(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    old = [name for number, name in enumerate(FILES) if number % 2]
    for name in old:
        cloud.write(f"/to/{name}", b"an older content")
    asked: set[str] = set()

    def note(told: Told) -> Told:
        asked.update(told)
        return told

    cloud.on_bulk = note
    answer, whole = copy(function, s3, cloud)
    assert answer.status_code == 200, answer.text
    assert cloud.hashes("to") == whole
    assert asked
    assert not asked & {f"/to/{name}" for name in old}


def test_one_bad_file_costs_only_itself(function: Function, s3: Storage, cloud: Nextcloud) -> None:
    answer, whole = copy(function, s3, cloud, {**FILES, "1/bad.part": b"1"})
    assert answer.status_code == 502, answer.text
    assert result(answer)["totals"]["files"] == {"transferred": 60, "skipped": 0, "failed": 1}
    (error,) = result(answer)["errors"]
    assert (error["code"], error["samples"][0]["path"]) == ("name_refused", "1/bad.part")
    assert cloud.hashes("to") == {name: one for name, one in whole.items() if name in FILES}
    assert in_bulk(answer) >= 20


def test_part_that_arrives_broken_is_sent_by_itself(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    broken = {f"/to/{name}" for name in list(FILES)[::20]}
    cloud.breaks = lambda path: path in broken
    answer, whole = copy(function, s3, cloud)
    assert answer.status_code == 200, answer.text
    assert cloud.hashes("to") == whole
    assert {name.removeprefix("/to/") for name in broken} <= puts(cloud)
    assert in_bulk(answer) >= 20


@pytest.mark.parametrize(
    "fault",
    [
        nextcloud.status(400, b"[]"),
        nextcloud.status(403),
        nextcloud.status(404),
        nextcloud.status(413),
        nextcloud.status(500, b"<d:error/>"),
        nextcloud.status(504, carried_out=True),
        nextcloud.status(200, b"<html>Sign in</html>"),
        nextcloud.status(200, b"[]"),
        nextcloud.reset(),
        nextcloud.reset(after=300),
    ],
    ids=lambda fault: f"{fault.kind.value}-{fault.status}-{fault.after}",
)
def test_refused_batch_goes_the_plain_way(
    fault: nextcloud.Fault, function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    cloud.fail("POST", BULK, fault)
    answer, whole = copy(function, s3, cloud)
    assert answer.status_code == 200, answer.text
    assert cloud.hashes("to") == whole
    assert in_bulk(answer) == 0
    # It is not asked again and again: two batches in vain end the use, while a third may be under
    # way, and each is asked for at most three times.
    assert 1 <= len(cloud.seen("POST", BULK)) <= 9


def test_later_refusal_leaves_what_is_stored(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    cloud.fail("POST", BULK, nextcloud.status(502), skip=1)
    answer, whole = copy(function, s3, cloud)
    assert answer.status_code == 200, answer.text
    assert cloud.hashes("to") == whole
    assert in_bulk(answer)


def _wrong_etags(told: Told) -> Told:
    return {path: {**one, "etag": "0" * 32} for path, one in told.items()}


def _missing(told: Told) -> Told:
    return dict(list(told.items())[1:])


def _others(told: Told) -> Told:
    return {f"{path}x": one for path, one in told.items()}


def _nonsense(told: Told) -> Told:
    return {path: [1, {"etag": 2, "error": False}, None, "x"][len(path) % 4] for path in told}


@pytest.mark.parametrize("lie", [_wrong_etags, _missing, _others, _nonsense])
def test_answer_that_cannot_be_right_is_not_believed(
    lie: Callable[[Told], Told], function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    cloud.on_bulk = lie
    answer, whole = copy(function, s3, cloud)
    assert answer.status_code == 200, answer.text
    assert cloud.hashes("to") == whole
    assert (in_bulk(answer) > 0) == (lie is _missing)


@pytest.mark.parametrize("lie", ["etag", "size", "lost"])
def test_file_that_is_not_stored_as_answered_has_failed(
    lie: str, function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    """Of the first answer the first file is looked at. All are held against the listings."""
    bad: list[str] = []

    def deceive(told: Told) -> Told:
        later = [path for path, one in told.items() if not one["error"]][1:]
        if later and not bad:
            path = later[-1]
            bad.append(path.removeprefix("/to/"))
            file = cloud.user().tree.find(path)
            assert isinstance(file, File)
            if lie == "etag":
                told[path]["etag"] = "0" * 32
            elif lie == "size":
                file.content.write_bytes(b"longer than it was")
                file.size = 18
            else:
                cloud.user().tree.remove(file)
        return told

    cloud.on_bulk = deceive
    answer, whole = copy(function, s3, cloud)
    assert answer.status_code == 502, answer.text
    (error,) = result(answer)["errors"]
    assert [one["path"] for one in error["samples"]] == bad
    assert (error["code"], error["side"], error["retryable"]) == (
        "storage_error",
        "destination",
        True,
    )
    said = {"etag": "another version", "size": "lists 18 of", "lost": "does not list"}
    assert said[lie] in error["samples"][0]["message"]
    arrived = cloud.hashes("to")
    assert {**arrived, bad[0]: whole[bad[0]]} == whole


def test_file_that_is_locked_is_waited_for(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    with ExitStack() as locks:
        for name in FILES:
            if name.startswith("1/"):
                locks.enter_context(cloud.locked(f"/to/{name}"))

        def unlock(told: Told) -> Told:
            locks.close()
            return told

        cloud.on_bulk = unlock
        answer, whole = copy(function, s3, cloud)
    assert answer.status_code == 200, answer.text
    assert cloud.hashes("to") == whole


def test_quota_fails_the_files_that_do_not_fit(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    files = {f"{n}.bin": bytes([n]) * 4000 for n in range(40)}
    cloud.user().quota = 100_000
    answer, whole = copy(function, s3, cloud, files)
    assert answer.status_code in (502, 507), answer.text
    totals = result(answer)["totals"]["files"]
    arrived = cloud.hashes("to")
    assert arrived.items() <= whole.items()
    # PUTs at once may each find room for themselves, here as at the real server.
    assert 24 <= len(arrived) < 40
    assert totals == {"transferred": len(arrived), "skipped": 0, "failed": 40 - len(arrived)}
    assert {error["code"] for error in result(answer)["errors"]} == {"quota_exceeded"}


@pytest.mark.parametrize("transfers", [1, 2, 64])
def test_any_number_of_transfers_comes_to_its_end(
    transfers: int, function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    files = {f"{n % 7}/{n}": b"%d" % n * 1000 for n in range(250 if transfers > 2 else 30)}
    answer, whole = copy(function, s3, cloud, files, transfers=transfers)
    assert answer.status_code == 200, answer.text
    assert cloud.hashes("to") == whole
    # Two may always miss each other.
    assert (in_bulk(answer) > 0) == (transfers > 1) or transfers == 2


def test_files_of_each_size_arrive(function: Function, s3: Storage, cloud: Nextcloud) -> None:
    sizes = [0, 1, 4096, (1 << 17) - 1, 1 << 17, (1 << 17) + 1, 1 << 20]
    files = {f"{n}/{size}": bytes([n]) * size for n in range(8) for size in sizes}
    answer, whole = copy(function, s3, cloud, files)
    assert answer.status_code == 200, answer.text
    assert cloud.hashes("to") == whole
    large = {name for name, content in files.items() if len(content) > 1 << 17}
    assert large <= puts(cloud)
    assert in_bulk(answer)


def test_server_without_bulk_uploads_is_asked_once(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    cloud.bulk = False
    answer, whole = copy(function, s3, cloud)
    assert answer.status_code == 200, answer.text
    assert cloud.hashes("to") == whole
    assert len(cloud.seen("GET", CAPABILITIES)) == 1
    assert not cloud.seen("POST")
    assert in_bulk(answer) == 0


def test_public_link_gets_no_bulk_uploads(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    cloud.write("/shared/old", b"1")
    link = cloud.link("/shared", writable=True)
    folder = uuid.uuid4().hex
    whole = s3.fill(f"bucket/{folder}", FILES)
    url = f"{cloud.url}/public.php/dav/files/{link.token}"
    parameters = {"url": url, "vendor": "nextcloud"}
    answer = function.copy(
        s3.endpoint(folder), {"type": "webdav", "parameters": parameters, "path": "to"}
    )
    assert answer.status_code == 200, answer.text
    assert cloud.hashes("shared/to") == whole
    assert not cloud.seen("POST")


def test_folder_below_the_account_is_named_from_its_root(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    cloud.write("/deep/er ä/old", b"1")
    folder = uuid.uuid4().hex
    whole = s3.fill(f"bucket/{folder}", FILES)
    end = cloud.storage().endpoint("to")
    end["parameters"]["url"] += "/deep/er%20%C3%A4"
    answer = function.copy(s3.endpoint(folder), end)
    assert answer.status_code == 200, answer.text
    assert cloud.hashes("deep/er ä/to") == whole
    assert in_bulk(answer) >= 20


def test_switched_off(s3: Storage, cloud: Nextcloud, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with service_process.function(tmp_path / "run", WEBDAV_GATEWAY="1", WEBDAV_BULK="0") as off:
        answer, whole = copy(off, s3, cloud)
        off.wait_clean()
    assert answer.status_code == 200, answer.text
    assert cloud.hashes("to") == whole
    assert puts(cloud) == set(FILES)
    assert not cloud.seen("POST")
    assert not cloud.seen("*", CAPABILITIES)


@pytest.mark.parametrize("is_carried_out", [False, True])
def test_copy_that_ends_in_the_middle_of_a_batch_goes_on_later(
    is_carried_out: bool, function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    """Whether the server had stored the batch or not, the result is right."""
    held = threading.Event()
    is_over = threading.Event()

    def hold(told: Told) -> Told:
        held.set()
        is_over.wait(60)
        return told

    if is_carried_out:
        cloud.on_bulk = hold
    else:
        cloud.fail("POST", BULK, nextcloud.stall())
    folder = uuid.uuid4().hex
    whole = s3.fill(f"bucket/{folder}", FILES)
    ends = s3.endpoint(folder), cloud.storage().endpoint("to")
    begun = time.monotonic()
    answer = function.copy(*ends, options={"deadline_seconds": 8, "report": "all"})
    assert time.monotonic() - begun < 30
    is_over.set()
    assert answer.status_code == 504, answer.text
    assert held.is_set() == is_carried_out
    assert answer.json()["code"] == "incomplete"
    arrived = cloud.hashes("to")
    assert arrived.items() <= whole.items()
    for file in result(answer)["files"]:
        assert file["state"] != "transferred" or arrived[file["path"]] == whole[file["path"]]
    cloud.heal()
    cloud.on_bulk = lambda told: told
    assert function.copy(*ends).status_code == 200
    assert cloud.hashes("to") == whole


def test_client_that_hangs_up_ends_the_batch(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    cloud.fail("POST", BULK, nextcloud.stall())
    folder = uuid.uuid4().hex
    whole = s3.fill(f"bucket/{folder}", FILES)
    ends = s3.endpoint(folder), cloud.storage().endpoint("to")
    request = {"source": ends[0], "destination": ends[1]}
    function.leave(request, when=lambda: cloud.seen("POST", BULK))
    function.wait_clean(20)
    cloud.heal()
    assert function.copy(*ends).status_code == 200
    assert cloud.hashes("to") == whole


def test_app_password_that_is_revoked_in_mid_copy_is_not_used_again(
    function: Function, s3: Storage, cloud: Nextcloud
) -> None:
    def revoke(told: Told) -> Told:
        if len(cloud.seen("POST", BULK)) >= 2:
            cloud.user().app_passwords.clear()
        return told

    cloud.on_bulk = revoke
    answer, whole = copy(function, s3, cloud)
    (error,) = result(answer)["errors"]
    assert (error["code"], error["side"]) == ("authentication_failed", "destination")
    assert cloud.hashes("to").items() <= whole.items()
    assert cloud.statuses()[401] <= 17


def test_files_that_are_compared_by_checksum_get_one(function: Function, cloud: Nextcloud) -> None:
    """A bulk upload leaves the server without a checksum of the file."""
    with nextcloud.serving() as other:
        for name, content in FILES.items():
            file = other.write(f"/from/{name}", content)
            file.checksum = f"SHA1:{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"
        ends = other.storage().endpoint("from"), cloud.storage().endpoint("to")
        options = {"verify": "checksum", "require_checksum": True}
        answer = function.copy(*ends, options=options)
        assert answer.status_code == 200, answer.text
        assert cloud.hashes("to") == other.hashes("from")
    assert in_bulk(answer) == 0
    assert result(answer)["verification"]["checked"] == len(FILES)
