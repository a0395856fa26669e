"""rclone copies to the stand-in and back as to a Nextcloud, and every byte is there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import nextcloud
from support.nextcloud import Nextcloud, errors
from support.storages import digest, hash_tree

MIB = 1 << 20


@pytest.fixture
def cloud() -> Iterator[Nextcloud]:
    with nextcloud.serving() as running:
        yield running


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for name, size in {
        "a.txt": 11,
        "empty": 0,
        "sub/100% ü & 'b' #1.bin": 70_000,
        "sub/deep/er/c": 4096,
    }.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(size))
        os.utime(file, (1_700_000_000, 1_700_000_000))
    return folder


def copy(
    rclone: Path, cloud: Nextcloud, source: str, target: str, *flags: str
) -> subprocess.CompletedProcess[str]:
    """`rclone copy`, with the stand-in as `cloud:`."""
    parameters = cloud.storage().parameters
    password = subprocess.run(
        [rclone, "obscure", "-"],
        input=parameters["pass"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    settings = {**parameters, "pass": password, "pacer_min_sleep": "1ms"}
    return subprocess.run(
        [rclone, "copy", source, target, "--config", "", "--low-level-retries", "3", *flags],
        env={
            "PATH": os.environ["PATH"],
            "RCLONE_CONFIG_CLOUD_TYPE": "webdav",
            **{f"RCLONE_CONFIG_CLOUD_{name.upper()}": value for name, value in settings.items()},
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_folder_goes_up_and_comes_back(
    rclone: Path, cloud: Nextcloud, data: Path, tmp_path: Path
) -> None:
    up = copy(rclone, cloud, str(data), "cloud:in", "--checksum", "--error-on-no-transfer")
    assert up.returncode == 0, up.stderr
    assert cloud.hashes("/in") == hash_tree(data)
    down = copy(rclone, cloud, "cloud:in", str(tmp_path / "back"))
    assert down.returncode == 0, down.stderr
    assert hash_tree(tmp_path / "back") == hash_tree(data)
    assert (tmp_path / "back/a.txt").stat().st_mtime == 1_700_000_000
    assert not {status for status in cloud.statuses() if status >= 500}


def test_second_copy_transfers_nothing(rclone: Path, cloud: Nextcloud, data: Path) -> None:
    copy(rclone, cloud, str(data), "cloud:in")
    cloud.heal()
    again = copy(rclone, cloud, str(data), "cloud:in")
    assert again.returncode == 0, again.stderr
    assert cloud.seen("PUT") == []
    by_hash = copy(rclone, cloud, str(data), "cloud:in", "--checksum")
    assert by_hash.returncode == 0, by_hash.stderr
    assert cloud.seen("PUT") == []


def test_large_file_goes_up_in_chunks(rclone: Path, cloud: Nextcloud, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(5 * MIB + 7))
    for _ in range(2):
        up = copy(
            rclone,
            cloud,
            str(large),
            "cloud:in",
            "--webdav-nextcloud-chunk-size=2Mi",
            "--ignore-times",
        )
        assert up.returncode == 0, up.stderr
        assert cloud.hashes("/in") == {"large.bin": digest(large.read_bytes())}
    chunks = cloud.seen("PUT", "/remote.php/dav/uploads/alice/*")
    assert [request.received for request in chunks] == [2 * MIB, 2 * MIB, MIB + 7] * 2
    assert cloud.statuses("MOVE") == {201: 1, 204: 1}
    assert cloud.user().uploads == {}


def test_chunks_of_a_refused_upload_stay_in_their_session(
    rclone: Path, cloud: Nextcloud, tmp_path: Path
) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(3 * MIB))
    cloud.write("/in/large.bin", b"old")
    cloud.user().quota = 2 * MIB
    up = copy(
        rclone, cloud, str(large), "cloud:in", "--webdav-nextcloud-chunk-size=1Mi", "--retries=1"
    )
    assert up.returncode != 0
    assert "Insufficient space in /in, 3145728 required" in up.stderr
    assert cloud.statuses("MOVE") == {507: 1}
    (session,) = cloud.user().uploads.values()
    assert sum(chunk.size for chunk in session.chunks.values()) == 3 * MIB


def test_rclone_alone_deletes_the_old_file_after_a_refused_overwrite(
    rclone: Path, cloud: Nextcloud, tmp_path: Path
) -> None:
    """The same requests and answers as with a real Nextcloud: the gateway has to prevent this."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/f").write_bytes(bytes(2 * MIB))
    cloud.write("/in/f", b"old")
    cloud.user().quota = MIB
    up = copy(
        rclone, cloud, str(tmp_path / "data"), "cloud:in", "--retries=1", "--low-level-retries=1"
    )
    assert up.returncode != 0
    assert [(request.method, request.status) for request in cloud.requests] == [
        ("PROPFIND", 207),
        ("PROPFIND", 207),
        ("MKCOL", 405),
        ("PUT", 507),
        ("DELETE", 204),
    ]
    assert cloud.hashes("/in") == {}


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (errors.locked("/in/a.txt"), "FileLocked: 423 Locked"),
        (errors.insufficient_storage("/in/a.txt", 11, 5), "InsufficientStorage: 507"),
        (errors.maintenance(), "ServerMaintenanceMode: 503"),
        (errors.too_many_requests(), "TooManyRequests: 429"),
        (errors.invalid_path("Filename is too long"), "InvalidPath: 400"),
    ],
    ids=lambda value: value.exception.rpartition("\\")[2] if hasattr(value, "exception") else "",
)
def test_rclone_reads_a_refusal_as_of_nextcloud(
    rclone: Path, cloud: Nextcloud, data: Path, refusal: errors.DavError, told: str
) -> None:
    cloud.fail("PUT", "*/a.txt", nextcloud.error(refusal))
    up = copy(
        rclone,
        cloud,
        str(data / "a.txt"),
        "cloud:in",
        "--retries=1",
        "--low-level-retries=1",
    )
    assert up.returncode != 0
    assert told in up.stderr


def test_public_link_is_copied_from(rclone: Path, cloud: Nextcloud, tmp_path: Path) -> None:
    expected = cloud.storage().fill("shared", {"a": b"1", "sub/b": b"2"})
    link = cloud.link("/shared")
    for url in (f"{cloud.url}/public.php/dav/files/{link.token}", f"{cloud.url}/public.php/webdav"):
        user = link.token if url.endswith("webdav") else ""
        target = tmp_path / (user or "dav")
        done = subprocess.run(
            [rclone, "copy", f':webdav,url="{url}",user="{user}":', target, "--config", ""],
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert hash_tree(target) == expected
