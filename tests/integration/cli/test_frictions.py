"""Mistakes that newcomers made: each is answered by what, where, and what to do.

Each at the surface where a person meets it, which is a pipe here; `test_looks.py`,
`test_endpoints.py` and `test_waits.py` have terminals.
"""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from support.cli_user import User, unused_url
from support.doc_blocks import DOCS, README
from support.storages import Storage

PAGE = "https://cloud.example.org/apps/files/files/12?dir=/Measurements"
RIGHT = "https://cloud.example.org/remote.php/dav/files/alice"


@pytest.fixture
def filled(name: str, webdav: Storage) -> str:
    """A folder of `cloud`, as the command names it."""
    webdav.fill(name, {"a.txt": b"a", "raw/b.txt": b"bb"})
    return f"cloud:{name}"


@pytest.fixture
def person(user: User, webdav: Storage, s3: Storage) -> User:
    """A user who also has endpoints with mistakes in them."""
    cloud = webdav.parameters
    mistakes: dict[str, Any] = {
        "page": {"url": PAGE.partition("?")[0], "vendor": "nextcloud"},
        "port": {"url": unused_url()},
        "password": {"pass": "canary-wrong"},
    }
    user.write_endpoints(
        cloud={"type": "webdav", "parameters": cloud},
        archive={"type": "s3", "path": "bucket", "parameters": s3.parameters},
        buckets={"type": "s3", "parameters": s3.parameters},
        **{
            name: {"type": "webdav", "parameters": {**cloud, **wrong}}
            for name, wrong in mistakes.items()
        },
    )
    return user


def told(user: User, code: int, *words: str) -> str:
    done = user.run(*words)
    text = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == code, text
    assert "canary" not in text
    return text


def test_address_of_the_browser_is_answered_with_the_right_one(person: User, name: str) -> None:
    text = told(person, 2, "copy", "page:x", f"archive:{name}")
    assert "/source/parameters/url: The URL is a page for people." in text
    assert RIGHT in text
    words = ["--kind", "nextcloud", "--address", PAGE, "--user", "alice", "--secret-env", "X"]
    assert f"Address: {RIGHT}" in told(person, 0, "endpoints", "add", "new", *words)


@pytest.mark.slow
def test_misspelt_bucket_is_named_and_how_to_find_or_make_it(person: User, filled: str) -> None:
    text = told(person, 1, "copy", filled, "buckets:buckt/x")
    assert "failed: destination_not_found at the destination" in text
    assert "There is no bucket `buckt`." in text
    assert "efss-transfer ls shows all buckets. --create-bucket makes a missing one." in text
    assert "bucket/" in told(person, 0, "ls", "buckets:")
    text = told(person, 2, "copy", filled, "buckets:")
    assert "/destination/path: Must begin with a bucket, such as bucket/folder." in text


@pytest.mark.slow
def test_checksums_that_both_sides_lack_are_told_with_what_to_use(
    person: User, filled: str, name: str
) -> None:
    text = told(person, 0, "copy", "--verify", "checksum", filled, f"archive:{name}")
    assert "Verified by size: 2 files checked, 0 different, 0 missing." in text
    assert "warning: compared_by_size (2 cases)" in text
    assert "set `options.verify` to `download` (--verify download)" in text
    words = ["--verify", "checksum", "--require-checksum"]
    text = told(person, 6, "copy", *words, filled, f"archive:{name}")
    assert "2 of 2 files have no checksum of a kind that both sides have." in text
    assert "(--require-checksum)" in text


def test_forgotten_path_and_misspelt_names_are_answered(person: User, filled: str) -> None:
    text = told(person, 2, "copy", filled, "archive")
    assert "'archive' has no path: write archive: for all of it, or archive:FOLDER." in text
    assert "Did you mean `archive`?" in told(person, 2, "copy", filled, "archve")
    text = told(person, 7, "copy", filled, "archve:x")
    assert "/destination/storage: " in text
    assert "'archve' is not in your endpoints file. Did you mean `archive`?" in text
    text = told(person, 7, "copy", filled, "elsewhere:x")
    assert "'elsewhere' is not in your endpoints file. See efss-transfer endpoints list." in text
    text = told(person, 2, "copy", filled, "archive:x", "--dryrun")
    assert "No such option" in text
    assert "--dry-run" in text
    assert "copy" in told(person, 2, "cpy", filled, "archive:x")


def test_wrong_port_is_told_once_with_what_to_check(person: User, filled: str) -> None:
    begun = time.monotonic()
    text = told(person, 5, "copy", "port:x", "archive:x")
    assert "failed: storage_unreachable at the source" in text
    assert re.search(r"127\.0\.0\.1:\d+: connection refused", text)
    assert "Check the host and the port of that side's address." in text
    assert "Retrying" not in text
    text = told(person, 5, "copy", filled, "archive:x", "--url", unused_url())
    assert "efss-transfer: service_unreachable: 127.0.0.1:" in text
    assert "Check that the service is running there." in text
    assert "Retrying" not in text
    assert time.monotonic() - begun < 100


def test_wrong_password_and_path_say_what_to_check(person: User, filled: str) -> None:
    text = told(person, 7, "copy", "password:x", "archive:x")
    assert "failed: authentication_failed at the source" in text
    assert "Check the user, and the password, token or key, of that side." in text
    text = told(person, 3, "copy", f"{filled}x", "archive:x")
    assert "failed: source_not_found at the source" in text
    assert "Check the path: efss-transfer ls shows what is in a folder." in text


def test_local_path_is_answered_with_what_to_use(person: User) -> None:
    text = told(person, 2, "copy", "./Measurements", "archive:x")
    assert "is a path on this machine, which the service cannot read" in text
    assert "serve its folder by WebDAV or SFTP" in text


@pytest.mark.slow
def test_one_can_look_check_and_try_before_a_copy(person: User, filled: str, name: str) -> None:
    assert "a.txt" in told(person, 0, "ls", filled)
    assert "may write" in told(person, 0, "check", filled, "--write")
    text = told(person, 0, "copy", "--dry-run", filled, f"archive:{name}")
    assert "Dry run: 2 files, 3 B, would be copied. a.txt (1 B) raw/b.txt (2 B)" in text
    assert "to copy 2 files, 3 B" in told(person, 0, "plan", filled, f"archive:{name}")


def test_documents_name_no_package_that_cannot_be_installed() -> None:
    for page in (README, *DOCS.rglob("*.md")):
        assert not re.search(r"pip install ['\"]?efss-transfer", page.read_text("utf-8")), page
