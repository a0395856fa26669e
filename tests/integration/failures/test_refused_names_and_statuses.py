"""What storages refuse by a status or for a name, in the words of each backend."""

from __future__ import annotations

import time
import uuid

import pytest

from support import faulty_webdav
from support import storages as servers
from support.faulty_webdav import Faulty
from support.refusals import ONE_ATTEMPT, SECONDS, reported_error
from support.service_process import Function
from support.storages import Storage


@pytest.mark.parametrize("name", ["wsgidav", "sftp", "ftp"])
def test_a_name_that_is_too_long(
    function: Function, storages: dict[str, Storage], s3: Storage, name: str
) -> None:
    here = uuid.uuid4().hex
    hashes = s3.fill(f"bucket/{here}", {"n" * 256: b"a", "good.txt": bytes(range(256)) * 4})
    answer = function.copy(s3.endpoint(here), storages[name].endpoint(here), options=ONE_ATTEMPT)
    assert reported_error(answer)[1:] == ("name_refused", "destination", False)
    assert storages[name].hashes(here) == {"good.txt": hashes["good.txt"]}


@pytest.mark.parametrize("name", ["wsgidav", "sftp", "ftp"])
def test_a_folder_below_a_file(
    function: Function, storages: dict[str, Storage], s3: Storage, name: str
) -> None:
    here = uuid.uuid4().hex
    s3.fill(f"bucket/{here}", {"a.txt": b"a"})
    storages[name].fill(here, {"file": b"it was here first"})
    answer = function.copy(
        s3.endpoint(here), storages[name].endpoint(f"{here}/file/below"), options=ONE_ATTEMPT
    )
    assert reported_error(answer)[1:] == ("not_a_directory", "destination", False)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "authentication_failed"),
        (403, "permission_denied"),
        (404, "source_not_found"),
        (429, "storage_busy"),
        (503, "storage_busy"),
        (507, "storage_error"),
    ],
)
@pytest.mark.parametrize("kind", ["s3", "google cloud storage", "swift", "koofr", "http"])
def test_what_others_say_of_a_status(
    function: Function, dav: Faulty, webdav: Storage, kind: str, status: int, code: str
) -> None:
    """Each of rclone's backends has words of its own for it."""
    parameters = {
        "s3": {
            "provider": "Other",
            "endpoint": dav.url,
            "access_key_id": servers.password(),
            "secret_access_key": servers.password(),
        },
        "google cloud storage": {"anonymous": True, "endpoint": dav.url},
        "swift": {
            "auth": dav.url,
            "auth_version": 1,
            "user": servers.USER,
            "key": servers.password(),
        },
        "koofr": {
            "provider": "other",
            "endpoint": dav.url,
            "user": servers.USER,
            "password": servers.password(),
        },
        "http": {"url": dav.url},
    }
    dav.fail("*", "*", faulty_webdav.status(status))
    source = {"type": kind, "parameters": parameters[kind], "path": "bucket/x"}
    began = time.monotonic()
    answer = function.copy(source, webdav.endpoint(uuid.uuid4().hex), options=ONE_ATTEMPT)
    assert time.monotonic() - began < SECONDS
    assert reported_error(answer)[1:3] == (code, "source")


def test_listed_files_that_are_one_where_case_is_ignored(
    function: Function, dav: Faulty, s3: Storage
) -> None:
    """No server of such a type runs here: the first file fails, and the second is not tried."""
    here = uuid.uuid4().hex
    s3.fill(f"bucket/{here}", {"README": b"1", "readme": b"22"})
    dav.fail("*", "*", faulty_webdav.status(403))
    destination = {
        "type": "koofr",
        "parameters": {
            "provider": "other",
            "endpoint": dav.url,
            "user": servers.USER,
            "password": servers.password(),
        },
        "path": "to",
    }
    files = {"files": [{"path": "README"}, {"path": "readme"}]}
    answer = function.copy(s3.endpoint(here), destination, selection=files, options=ONE_ATTEMPT)
    errors = {error["code"]: error["samples"] for error in answer.json()["result"]["errors"]}
    (sample,) = errors["name_refused"]
    assert sample["path"] == "readme"
    assert "'README'" in sample["message"]
    (sample,) = errors["permission_denied"]
    assert sample["path"] == "README"
