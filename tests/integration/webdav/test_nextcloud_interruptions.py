"""Transfers to and from a Nextcloud that changes meanwhile: credentials, maintenance, folders."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

import pytest

from support import nextcloud
from support.nextcloud import Nextcloud, Request
from support.nextcloud.cloud import Upload
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage, digest

FILES: Final = {f"d{number % 4}/f{number:03}": b"%d" % number for number in range(120)}
AT_ONCE: Final = 8


def only_error(answer: Any) -> dict[str, Any]:
    (error,) = answer.json()["result"]["errors"]
    return dict(error)


def after(cloud: Nextcloud, method: str, count: int, act: Callable[[], None]) -> None:
    """Act once, when so many requests of a method have come."""
    done = threading.Event()
    seen = [0]

    def look(request: Request) -> None:
        seen[0] += request.method == method
        if seen[0] >= count and not done.is_set():
            done.set()
            act()

    cloud.on_request = look


@pytest.mark.field_case("J5")
@pytest.mark.parametrize("side", ["source", "destination"])
def test_app_password_that_is_revoked_in_mid_copy_is_not_used_again(
    side: str, function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    # Nextcloud counts each refused sign-in, and then answers 429 to everybody at the address.
    base = f"revoked/{side}"
    s3.fill(f"bucket/{base}", FILES)
    cloud.storage().fill("from", FILES)
    there = cloud.storage().endpoint("from" if side == "source" else "to")
    method = "GET" if side == "source" else "PUT"
    after(cloud, method, 40, cloud.user().app_passwords.clear)
    ends = {"source": s3.endpoint(base), "destination": s3.endpoint(f"{base}/to"), side: there}
    begun = time.monotonic()
    answer = function.post({**ends, "options": {"transfers": AT_ONCE}})
    error = only_error(answer)
    assert (error["code"], error["side"]) == ("authentication_failed", side)
    assert error["retryable"] is False
    assert answer.json()["code"] == "partial"
    assert time.monotonic() - begun < 30
    # None comes later than this, although the server may still be at one of them.
    function.wait_clean()
    # Each request that was under way, and one that confirms.
    assert 1 <= cloud.statuses()[401] <= AT_ONCE + 1


@pytest.mark.field_case("J5", variant="the account is disabled")
def test_account_that_is_disabled_in_mid_copy_ends_it(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    # Nextcloud answers 503, as if it would pass.
    s3.fill("bucket/disabled", FILES)
    user = cloud.user()
    after(cloud, "PUT", 40, lambda: setattr(user, "enabled", False))
    begun = time.monotonic()
    answer = function.copy(
        s3.endpoint("disabled"), cloud.storage().endpoint("to"), options={"transfers": AT_ONCE}
    )
    assert time.monotonic() - begun < 30
    error = only_error(answer)
    assert (error["code"], error["side"]) == ("authentication_failed", "destination")
    assert "Account disabled" in error["samples"][0]["message"]
    # Each request that was under way.
    assert 1 <= cloud.statuses()[503] <= AT_ONCE + 1


@pytest.mark.field_case("J6")
@pytest.mark.parametrize("wrong", ["password", "user"])
@pytest.mark.parametrize("side", ["source", "destination"])
def test_wrong_password_is_sent_once(
    wrong: str, side: str, function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    s3.fill("bucket/wrong", {"a": b"1", "b/c": b"2"})
    there = cloud.storage().endpoint("to")
    change = {"pass": "mistyped"} if wrong == "password" else {"user": "nobody"}
    there["parameters"] = {**there["parameters"], **change}
    ends = {"source": s3.endpoint("wrong"), "destination": s3.endpoint("wrong-to"), side: there}
    answer = function.post(ends)
    assert cloud.statuses()[401] == 1
    assert cloud.refused_passwords == 1
    error = only_error(answer)
    assert (error["code"], error["side"]) == ("authentication_failed", side)


def test_bearer_token_that_is_wrong_is_sent_once(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    parameters = dict(cloud.storage().parameters, bearer_token="mistyped")
    del parameters["user"], parameters["pass"]
    source = {"type": "webdav", "parameters": parameters, "path": "from"}
    answer = function.copy(source, s3.endpoint("wrong-token"))
    assert cloud.statuses()[401] == 1
    assert only_error(answer)["code"] == "authentication_failed"


@pytest.mark.field_case("J10")
@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.slow
def test_maintenance_of_seconds_is_waited_for(
    side: str, function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    base = f"maintenance/{side}"
    files = dict(list(FILES.items())[:60])
    expected = s3.fill(f"bucket/{base}", files)
    cloud.storage().fill("from", files)

    def begin() -> None:
        cloud.maintenance = True
        # Longer than rclone alone repeats a request, so that it needs a second attempt.
        ending = threading.Timer(6.5, lambda: setattr(cloud, "maintenance", False))
        ending.daemon = True
        ending.start()

    after(cloud, "GET" if side == "source" else "PUT", 20, begin)
    if side == "source":
        # It refuses CreateBucket of a bucket that is there, as servers of a region do: an attempt
        # that lists nothing at the destination must not take that for an error.
        to = s3.endpoint(f"{base}/to", region="eu-central-1")
        answer = function.copy(cloud.storage().endpoint("from"), to)
        arrived = s3.hashes(f"bucket/{base}/to")
    else:
        answer = function.copy(s3.endpoint(base), cloud.storage().endpoint("to"))
        arrived = cloud.hashes("to")
    assert answer.status_code == 200, answer.text
    assert answer.json()["errors"] == []
    assert arrived == expected
    # It waits, and does not ask all the time: all 60 files are in flight.
    assert cloud.statuses()[503] <= 180


@pytest.mark.field_case("J11")
def test_folder_that_is_renamed_in_mid_copy_is_told_as_one_cause(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    cloud.storage().fill("from", FILES)
    tree = cloud.user().tree

    def rename() -> None:
        folder = tree.find("/from")
        assert folder is not None
        tree.move(folder, tree.root, "renamed")

    after(cloud, "GET", 40, rename)
    answer = function.copy(
        cloud.storage().endpoint("from"), s3.endpoint("renamed"), options={"attempts": 1}
    )
    error = only_error(answer)
    assert (error["code"], error["side"]) == ("source_not_found", "source")
    assert error["count"] > 40
    cause = error["samples"][0]
    assert "`from` was moved" in cause["message"].replace("alice/", ""), cause
    assert cause["message"] in answer.json()["detail"]
    arrived = s3.hashes("bucket/renamed")
    assert len(arrived) + error["count"] == len(FILES)
    assert arrived.items() <= {name: digest(text) for name, text in FILES.items()}.items()


@pytest.mark.field_case("J14")
@pytest.mark.slow
def test_deadlines_of_12_seconds_copy_400_files_in_few_requests(
    function: Function, s3: Storage
) -> None:
    # rclone alone: 13 requests, many of which ended in 423 for folders that it makes sixteen times
    # at once.
    files = {f"d{number % 20}/f{number:03}": b"%d" % number for number in range(400)}
    expected = s3.fill("bucket/deadlines", files)
    with nextcloud.serving(cost=nextcloud.OBSERVED) as cloud:
        request = {
            "source": s3.endpoint("deadlines"),
            "destination": cloud.storage().endpoint("to"),
            "options": {"deadline_seconds": 12},
        }
        answers = [function.post(request)]
        while answers[-1].json().get("code") == "incomplete":
            # Four on a quiet machine; one that is slower, or busy, needs more.
            assert len(answers) < 30
            answers.append(function.post(request))
        assert answers[-1].status_code == 200, answers[-1].text
        assert cloud.hashes("to") == expected
        assert cloud.statuses()[423] == cloud.statuses()[409] == 0
        # Each folder once; a second time if the deadline came before its answer.
        assert cloud.statuses("MKCOL")[201] == 21
        # A deadline may cut off each upload that is under way, and costs no other one.
        assert len(cloud.seen("PUT")) <= len(files) + 16 * (len(answers) - 1)


CHUNKED: Final = b"x" * 12_000_000
"""A file that rclone, too, sends in chunks: those of its own are of 10 MiB."""


@pytest.mark.field_case("J9", variant="the answer to MKCOL is lost")
@pytest.mark.parametrize("code", [502, 503])
def test_chunk_folder_whose_making_lost_its_answer_costs_no_file(
    code: int, function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    # Made by a request whose answer a proxy lost.
    expected = s3.fill(f"bucket/there/{code}", {"f": CHUNKED})
    cloud.write("/to/f", b"old")
    lost = nextcloud.status(code, carried_out=True)
    cloud.fail("MKCOL", "*/uploads/*", lost, times=1)
    answer = function.copy(s3.endpoint(f"there/{code}"), cloud.storage().endpoint("to"))
    assert answer.status_code == 200, answer.text
    assert cloud.hashes("to") == expected
    assert not cloud.user().uploads


@pytest.mark.field_case("J9")
@pytest.mark.parametrize("attempts", [1, 3])
def test_chunk_folder_that_is_there_already_costs_no_file(
    attempts: int, function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    # Another client's upload to the same file. rclone alone: "unsupported", and not retryable.
    expected = s3.fill(f"bucket/there/{attempts}", {"f": CHUNKED})
    cloud.write("/to/f", b"old")

    def begin_first(request: Request) -> None:
        _, is_upload, rest = request.path.partition("/uploads/alice/")
        if request.method == "MKCOL" and is_upload:
            cloud.user().uploads[rest] = Upload(int(time.time()))

    cloud.on_request = begin_first
    answer = function.copy(
        s3.endpoint(f"there/{attempts}"),
        cloud.storage().endpoint("to"),
        options={"attempts": attempts},
    )
    assert answer.status_code == 200, answer.text
    assert cloud.hashes("to") == expected
    assert not cloud.user().uploads


@pytest.mark.field_case("J9")
@pytest.mark.parametrize("attempts", [1, 3])
def test_chunk_folder_that_vanishes_is_worth_another_attempt(
    attempts: int, function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    # rclone alone: "storage_error", and not retryable.
    expected = s3.fill(f"bucket/vanish/{attempts}", {"f": CHUNKED})
    cloud.write("/to/f", b"old")
    begun = threading.Event()

    def remove(request: Request) -> None:
        if request.method == "PUT" and "/uploads/" in request.path and not begun.is_set():
            begun.set()
            cloud.user().uploads.clear()

    cloud.on_request = remove
    ends = {
        "source": s3.endpoint(f"vanish/{attempts}"),
        "destination": cloud.storage().endpoint("to"),
    }
    answer = function.post({**ends, "options": {"attempts": attempts}})
    if attempts == 1:
        error = only_error(answer)
        assert (error["side"], error["retryable"]) == ("destination", True)
        assert answer.json()["retryable"] is True
        assert cloud.hashes("to") == {"f": digest(b"old")}
        answer = function.post(ends)
    assert answer.status_code == 200, answer.text
    assert begun.is_set()
    assert cloud.hashes("to") == expected
    assert not cloud.user().uploads


@pytest.mark.field_case("J8")
@pytest.mark.parametrize("end", ["hang-up", "deadline"])
def test_chunks_that_the_server_still_reads_are_not_deleted(
    end: str, function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    """The file that they replace would be cut off."""
    expected = s3.fill(f"bucket/assembled/{end}", {"f": b"x" * 300_000})
    cloud.write("/to/f", b"old")
    begun, may_go_on = threading.Event(), threading.Event()

    def be_slow(_: str) -> None:
        begun.set()
        may_go_on.wait(30)

    cloud.on_replace = be_slow
    ends = {
        "source": s3.endpoint(f"assembled/{end}"),
        "destination": cloud.storage().endpoint("to"),
    }
    if end == "deadline":
        answer = function.post({**ends, "options": {"deadline_seconds": 5}})
        assert checked_result(answer)["warnings"][0]["code"] == "partial_left"
    else:
        headers = {"Accept": "application/x-ndjson"}
        with function.post(ends, headers=headers, stream=True) as stream:
            assert begun.wait(30)
            stream.close()
    function.wait_clean()
    assert begun.is_set()
    may_go_on.set()
    assert cloud.hashes("to") == expected
