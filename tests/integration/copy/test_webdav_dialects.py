"""Transfers to servers that the gateway treats as what they are; contents compared by hash."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import nextcloud, service_process
from support.nextcloud import Nextcloud
from support.nextcloud.tree import File
from support.service_process import Function
from support.storages import Storage, digest, hash_tree
from support.webdav_gateway import gateway, run


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    runtime = tmp_path_factory.mktemp("gw")
    with service_process.function(runtime, WEBDAV_GATEWAY="1") as running:
        yield running


@pytest.fixture
def function(served: Function) -> Iterator[Function]:
    yield served
    served.wait_clean()


@pytest.fixture
def cloud() -> Iterator[Nextcloud]:
    with nextcloud.serving() as running:
        yield running


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
        user = cloud.user()
        if password is not None:
            user.app_passwords.add(password)
        end = cloud.storage().endpoint("to")
        end["parameters"] |= {"vendor": "other", "pass": password or user.password}
        answer = function.copy(s3.endpoint(folder), end, options={"transfers": 16})
        assert answer.status_code == 200, answer.text
        assert cloud.hashes("to") == expected
        puts = cloud.seen("PUT")
        # In the middle of each: a request ends here a moment after the gateway knows.
        halves = [put.at + 0.1 for put in puts]
        at_once = max(sum(one.at <= half < one.ended for one in puts) for half in halves)
    assert 4 <= at_once <= most
    assert most == 4 or at_once > 4
