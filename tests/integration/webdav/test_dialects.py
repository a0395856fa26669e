"""Transfers to servers that the gateway treats as what they are; contents compared by hash."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from efss_transfer.webdav.writes.pieces import LARGEST, SMALLEST
from support import nextcloud, sizeless
from support.nextcloud import Nextcloud
from support.nextcloud.tree import File
from support.service_process import Function
from support.stand_in.faults import Gathering, most_at_once
from support.storages import Storage, digest, hash_tree
from support.webdav_gateway import gateway, run


def to(cloud: Nextcloud, **options: Any) -> dict[str, Any]:
    """How the gateway is given the account."""
    parameters = cloud.storage().parameters
    return {
        "url": parameters["url"],
        "user": parameters["user"],
        "password": parameters["pass"],
        **options,
    }


def file_id(cloud: Nextcloud, path: str) -> int:
    found = cloud.user().tree.find(path)
    assert isinstance(found, File), path
    return found.fileid


@pytest.mark.parametrize("vendor", ["other", "owncloud", None])
@pytest.mark.parametrize("size", [100, 2_000_000])
def test_overwrite_at_nextcloud_keeps_the_files_id_whatever_the_request_calls_it(
    size: int, vendor: str | None, cloud: Nextcloud, function: Function, s3: Storage
) -> None:
    folder = f"keeps-{size}-{vendor}"
    expected = s3.fill(f"bucket/{folder}", {"f.bin": os.urandom(size)})
    cloud.write("to/f.bin", b"old")
    before = file_id(cloud, "to/f.bin")
    end = cloud.storage().endpoint("to")
    end["parameters"] = {**end["parameters"], "vendor": vendor}
    if vendor is None:
        del end["parameters"]["vendor"]
    answer = function.copy(s3.endpoint(folder), end)
    assert answer.status_code == 200, answer.text
    assert cloud.hashes("to") == expected
    assert file_id(cloud, "to/f.bin") == before
    assert not cloud.user().uploads
    # One question, without a credential.
    (question,) = cloud.seen("GET", "/status.php")
    assert "Authorization" not in question.headers


def test_wrong_password_is_counted_once_by_the_server(
    cloud: Nextcloud, function: Function, s3: Storage
) -> None:
    end = cloud.storage().endpoint("from")
    end["parameters"] = {**end["parameters"], "vendor": "other", "pass": "wrong"}
    answer = function.copy(end, s3.endpoint("wrong"))
    assert answer.json()["code"] == "authentication_failed"
    assert cloud.refused_passwords == 1


def test_times_and_hashes_are_kept_at_nextcloud_without_its_name(
    cloud: Nextcloud, rclone: Path, tmp_path: Path
) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "f.txt").write_bytes(b"text")
    os.utime(tmp_path / "from" / "f.txt", (1_600_000_000, 1_600_000_000))
    with gateway(**to(cloud)) as running:
        there = running.connection_string("x")
        done = run(rclone, "copy", str(tmp_path / "from"), there)
        assert done.returncode == 0, done.stderr
        assert "2020-09-13" in run(rclone, "lsl", there).stdout
        sums = run(rclone, "check", str(tmp_path / "from"), there)
        assert "0 differences found" in sums.stderr
        assert "hashes could not be checked" not in sums.stderr
    assert cloud.hashes("x") == hash_tree(tmp_path / "from")
    assert cloud.hashes("x") == {"f.txt": digest(b"text")}


APP_PASSWORD = "aB3dE-fG7hJ-kL1mN-oP5qR-sT9vW"


@pytest.mark.parametrize(("password", "most"), [(None, 4), (APP_PASSWORD, 16), ("x" * 72, 16)])
def test_only_four_requests_at_a_time_make_nextcloud_hash_a_password(
    password: str | None, most: int, function: Function, s3: Storage
) -> None:
    folder = f"hashed-{most}-{len(password or '')}"
    expected = s3.fill(f"bucket/{folder}", {f"f{number}": b"x" for number in range(32)})
    with nextcloud.serving(cost=nextcloud.Cost(work={"PUT": 0.2})) as cloud:
        cloud.bulk = False
        cloud.on_request = Gathering("PUT", min(most, 5))
        user = cloud.user()
        if password is not None:
            user.app_passwords.add(password)
        end = cloud.storage().endpoint("to")
        end["parameters"] |= {"vendor": "other", "pass": password or user.password}
        answer = function.copy(s3.endpoint(folder), end, options={"transfers": 16})
        assert answer.status_code == 200, answer.text
        assert cloud.hashes("to") == expected
        at_once = most_at_once(cloud.seen("PUT"))
    assert 4 <= at_once <= most
    assert most == 4 or at_once > 4


@pytest.mark.parametrize("vendor", ["nextcloud", "other"])
@pytest.mark.parametrize("there", [False, True])
def test_source_that_tells_no_size_is_copied_to_nextcloud(
    there: bool, vendor: str, cloud: Nextcloud, function: Function
) -> None:
    if there:
        cloud.write("to/f.bin", b"old")
    end = cloud.storage().endpoint("to")
    end["parameters"] |= {"vendor": vendor}
    content = os.urandom(LARGEST + 1_000_000)
    with sizeless.serving(content) as source:
        answer = function.copy(source, end)
    assert answer.status_code == 200, answer.text
    assert cloud.hashes("to") == {"f.bin": digest(content)}


def put_unknown(url: str, path: str, content: bytes) -> int:
    """PUT a body in many chunks, as rclone does where the source tells no size."""
    pieces = (content[start : start + 100_000] for start in range(0, len(content), 100_000))
    return requests.put(f"{url}/{path}", data=pieces, timeout=60).status_code


@pytest.mark.parametrize("size", [0, 70_000, SMALLEST, LARGEST + 1_000_000, 3 * LARGEST])
@pytest.mark.parametrize("there", [False, True])
def test_body_of_unknown_length_arrives_whole_at_nextcloud(
    there: bool, size: int, cloud: Nextcloud
) -> None:
    content = os.urandom(size)
    if there:
        cloud.write("x/f.bin", b"old")
        before = file_id(cloud, "x/f.bin")
    with gateway(**to(cloud)) as running:
        assert requests.request("MKCOL", f"{running.url}/x/", timeout=60).status_code == 201
        assert put_unknown(running.url, "x/f.bin", content) in (201, 204)
    assert cloud.hashes("x") == {"f.bin": digest(content)}
    assert all("Content-Length" in put.headers for put in cloud.seen("PUT"))
    assert not cloud.user().uploads
    if there:
        assert file_id(cloud, "x/f.bin") == before


def test_body_of_unknown_length_that_breaks_off_is_no_file(cloud: Nextcloud) -> None:
    def pieces() -> Iterator[bytes]:
        yield from itertools.repeat(b"x" * 100_000, 2 * LARGEST // 100_000)
        raise ConnectionAbortedError

    cloud.write("x/old", b"old")
    with gateway(**to(cloud)) as running:
        for name in ("old", "new"):
            with pytest.raises(requests.ConnectionError):
                requests.put(f"{running.url}/x/{name}", data=pieces(), timeout=60)
        until = time.monotonic() + 10
        while cloud.user().uploads or len(cloud.seen("DELETE")) < 2:
            assert time.monotonic() < until
            time.sleep(0.01)
    assert cloud.hashes("x") == {"old": digest(b"old")}
    assert cloud.seen("PUT")


@pytest.mark.field_case("J7")
@pytest.mark.parametrize("there", [True, False])
def test_file_beyond_the_quota_is_refused_before_it_is_sent(
    there: bool, cloud: Nextcloud, function: Function, s3: Storage
) -> None:
    content = os.urandom(6_000_000)
    s3.fill(f"bucket/quota{there}", {"large.bin": content, "small": b"small"})
    if there:
        cloud.write("to/large.bin", b"old")
    cloud.user().quota = 5_000_000
    end = cloud.storage().endpoint("to")
    answer = function.copy(s3.endpoint(f"quota{there}"), end, options={"attempts": 1})
    assert answer.json()["result"]["errors"][0]["code"] == "quota_exceeded", answer.text
    assert "6000000 required" in answer.text
    old = {"large.bin": digest(b"old")} if there else {}
    assert cloud.hashes("to") == {"small": digest(b"small"), **old}
    assert sum(put.received for put in cloud.seen("PUT")) == len(b"small")
    assert not cloud.user().uploads
    # Once there is room, the same request copies it.
    cloud.user().quota = 20_000_000
    assert function.copy(s3.endpoint(f"quota{there}"), end).status_code == 200
    assert cloud.hashes("to") == {"small": digest(b"small"), "large.bin": digest(content)}


def test_large_files_cost_few_questions_for_the_quota(
    cloud: Nextcloud, rclone: Path, tmp_path: Path
) -> None:
    for number in range(12):
        (tmp_path / f"f{number}").write_bytes(os.urandom(1_100_000))
    cloud.user().quota = 100_000_000
    with gateway(**to(cloud)) as running:
        there = running.connection_string("x")
        done = run(rclone, "copy", str(tmp_path), there, "--transfers", "6")
    assert done.returncode == 0, done.stderr
    assert cloud.hashes("x") == hash_tree(tmp_path)
    # The look at the destination, and the question.
    assert len(cloud.seen("PROPFIND")) <= 4


@pytest.mark.field_case("J8")
@pytest.mark.parametrize("is_destination", [True, False])
def test_chunked_uploads_that_a_killed_gateway_left_are_removed(
    is_destination: bool, cloud: Nextcloud
) -> None:
    now = int(time.time())
    day, hour, minute = now - 90_000, now - 3600, now - 60
    # When each began, and when its last chunk arrived, if any did.
    gone = {upload_name(hour, "a"): hour, upload_name(day, "b"): None}
    kept = {
        upload_name(hour, "c"): minute,
        upload_name(hour, "d"): None,  # its only chunk may be on its way
        upload_name(minute, "e"): hour,  # its clock differs
        "mine": day,
        "efss-transfer-mine": day,
    }
    parameters: Any = cloud.storage().parameters
    url = parameters["url"].replace("/files/", "/uploads/")
    with requests.Session() as client:
        client.auth = (parameters["user"], parameters["pass"])
        for name, chunk in {**gone, **kept}.items():
            assert client.request("MKCOL", f"{url}/{name}").status_code == 201
            if chunk is not None:
                headers = {"X-OC-Mtime": str(chunk)}
                client.put(f"{url}/{name}/00000001", b"x", headers=headers)
    with gateway(**to(cloud), is_destination=is_destination) as running:
        for _ in range(2):
            status = requests.request(
                "PROPFIND", f"{running.url}/", headers={"Depth": "1"}, timeout=60
            ).status_code
            assert status == 207
        assert not running.gateway.record.failures
    assert cloud.user().uploads.keys() == kept.keys() | (set() if is_destination else gone.keys())
    asked = cloud.seen("PROPFIND", "/remote.php/dav/uploads/alice")
    assert len(asked) == (1 if is_destination else 0)


def upload_name(begun: int, letter: str) -> str:
    return f"efss-transfer-{begun:08x}{letter * 24}"
