"""POST /check: what may be done with a storage, step by step, and what it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from support import faulty_webdav, http_index, http_servers, service_process
from support.faulty_webdav import Faulty
from support.http_servers import passed_on, reply
from support.nextcloud import Nextcloud
from support.service_process import LOOPBACK, Function
from support.storages import Storage

KINDS: Final = ("wsgidav", "rclone", "s3", "sftp", "ftp", "gcs")
Ask = Callable[..., Any]
OK: Final = "ok"
FAILED: Final = "failed"
SKIPPED: Final = "skipped"


def filled(storage: Storage, folder: str) -> str:
    """Fill a folder with one file; its path for `hashes`."""
    whole = f"{storage.base}/{folder}" if storage.base else folder
    storage.fill(whole, {"a.txt": b"1"})
    return whole


def states(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    steps = answer.json()["steps"]
    assert [it["step"] for it in steps] == ["reach", "sign_in", "read", "write"]
    assert answer.json()["passed"] == all(it["state"] != FAILED for it in steps)
    return [it["state"] for it in steps]


def error(answer: Any) -> dict[str, Any]:
    """The error of the only step that failed."""
    (found,) = [it["error"] for it in answer.json()["steps"] if "error" in it]
    return dict(found)


@pytest.mark.parametrize("kind", KINDS)
def test_check_passes_and_leaves_nothing_behind(
    kind: str, storages: dict[str, Storage], folder: str, checked: Ask, listed: Ask
) -> None:
    storage = storages[kind]
    whole = filled(storage, folder)
    before = storage.hashes(whole)
    assert states(checked(storage.endpoint(folder))) == [OK, OK, OK, SKIPPED]
    written = checked(storage.endpoint(folder), write=True)
    assert states(written) == [OK, OK, OK, OK]
    assert written.json()["server"]["type"] == storage.type
    assert storage.hashes(whole) == before
    # Neither is a folder.
    assert [it["name"] for it in listed(storage.endpoint(folder)).json()["entries"]] == ["a.txt"]


def test_check_tells_what_the_storage_can(storages: dict[str, Storage], checked: Ask) -> None:
    s3 = checked(storages["s3"].endpoint()).json()
    assert s3["server"] == {"type": "s3", "checksums": ["md5"], "keeps_times": True}
    assert "space" not in s3
    sftp = checked(storages["sftp"].endpoint()).json()
    assert 0 < sftp["space"]["free"] < sftp["space"]["total"]
    assert sftp["server"]["keeps_times"]
    assert not checked(storages["wsgidav"].endpoint()).json()["server"]["keeps_times"]


def test_nextcloud_is_recognised_with_its_version(
    with_gateway: Function, cloud: Nextcloud, checked: Ask
) -> None:
    storage = cloud.storage()
    storage.fill("data", {"a.txt": b"1"})
    check = checked(storage.endpoint("data"), by=with_gateway, write=True)
    assert states(check) == [OK, OK, OK, OK]
    server = check.json()["server"]
    assert server["product"] == "Nextcloud"
    assert server["version"].startswith("3")
    assert (server["checksums"], server["keeps_times"]) == (["sha1"], True)
    assert storage.hashes("data").keys() == {"a.txt"}
    # Also to somebody who has no account there.
    wrong = checked(storage.endpoint("data", **{"pass": "canary-wrong"}), by=with_gateway)
    assert states(wrong) == [OK, FAILED, SKIPPED, SKIPPED]
    assert wrong.json()["server"]["product"] == "Nextcloud"


@pytest.mark.parametrize("kind", ["wsgidav", "sftp", "ftp"])
def test_wrong_password_fails_the_sign_in(
    kind: str, storages: dict[str, Storage], checked: Ask
) -> None:
    check = checked(storages[kind].endpoint(**{"pass": "canary-wrong"}), write=True)
    assert states(check) == [OK, FAILED, SKIPPED, SKIPPED]
    assert error(check)["code"] == "authentication_failed"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://cloud.invalid"])
def test_wrong_address_is_not_reached(url: str, webdav: Storage, checked: Ask) -> None:
    check = checked(webdav.endpoint(url=url))
    assert states(check) == [FAILED, SKIPPED, SKIPPED, SKIPPED]
    assert error(check)["code"] == "storage_unreachable"


def test_missing_folder_fails_the_reading(
    storages: dict[str, Storage], folder: str, checked: Ask
) -> None:
    for kind in ("wsgidav", "sftp", "ftp"):
        check = checked(storages[kind].endpoint(folder), write=True)
        assert states(check) == [OK, OK, FAILED, SKIPPED]
        assert error(check)["code"] == "source_not_found"
    bucket = checked({**storages["s3"].endpoint(), "path": f"no-{folder}"})
    assert states(bucket) == [OK, OK, FAILED, SKIPPED]


def test_prefix_of_a_bucket_need_not_exist(s3: Storage, folder: str, checked: Ask) -> None:
    assert states(checked(s3.endpoint(folder), write=True)) == [OK, OK, OK, OK]
    assert s3.hashes(f"bucket/{folder}") == {}


def test_file_can_be_read_and_not_written_into(webdav: Storage, folder: str, checked: Ask) -> None:
    filled(webdav, folder)
    check = checked(webdav.endpoint(f"{folder}/a.txt"), write=True)
    assert states(check) == [OK, OK, OK, FAILED]
    assert error(check)["code"] == "not_a_directory"
    assert "keeps_times" in check.json()["server"]


@pytest.mark.parametrize(
    ("status", "code"), [(403, "permission_denied"), (507, "quota_exceeded"), (405, "")]
)
def test_folder_that_refuses_writing_fails_it_alone(
    status: int, code: str, dav: Faulty, checked: Ask
) -> None:
    dav.fill("data", {"a.txt": b"1"})
    dav.fail("MKCOL", "*", faulty_webdav.status(status))
    check = checked(dav.endpoint("data"), write=True)
    assert states(check) == [OK, OK, OK, FAILED]
    assert error(check)["code"] == code or not code
    assert not any(".efss-transfer" in folder for folder in dav.folders)


def test_folder_that_cannot_be_removed_is_named(dav: Faulty, checked: Ask) -> None:
    dav.fill("data", {"a.txt": b"1"})
    dav.fail("DELETE", "*", faulty_webdav.status(403))
    check = checked(dav.endpoint("data"), write=True)
    assert states(check) == [OK, OK, OK, FAILED]
    (left,) = [it.rpartition("/")[2] for it in dav.folders if ".efss-transfer-" in it]
    assert left in error(check)["message"]


def test_object_of_a_bucket_that_refuses_writing_fails_it_alone(
    s3: Storage, folder: str, checked: Ask
) -> None:
    def answer(handler: Any) -> None:
        if handler.command == "PUT":
            document = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
            reply(handler, 403, document, "application/xml")
            return
        behind = passed_on(handler, s3.details["url"] + handler.path, b"")
        reply(handler, behind.status_code, behind.content, "application/xml")

    filled(s3, folder)
    with http_servers.misbehaving(answer) as url:
        check = checked(s3.endpoint(folder, endpoint=url), write=True)
    assert states(check) == [OK, OK, OK, FAILED]
    assert error(check)["code"] == "permission_denied"
    assert s3.hashes(f"bucket/{folder}").keys() == {"a.txt"}


def test_read_only_storage_cannot_be_written_to(checked: Ask) -> None:
    with http_index.serving({"data/a.txt": b"1"}) as index:
        assert states(checked(index.endpoint("data/"))) == [OK, OK, OK, SKIPPED]
        check = checked(index.endpoint("data/"), write=True)
    assert states(check) == [OK, OK, OK, FAILED]


def test_login_page_is_not_signed_in(dav: Faulty, direct: Function, checked: Ask) -> None:
    page = b"<!DOCTYPE html><html><title>Log in</title></html>"
    dav.fail("*", "*", faulty_webdav.status(200, page, Content_Type="text/html"))
    for by in ({}, {"by": direct}):
        assert states(checked(dav.endpoint("data"), **by)) == [OK, SKIPPED, FAILED, SKIPPED]


def test_host_that_the_site_does_not_allow_is_forbidden(webdav: Storage, checked: Ask) -> None:
    answer = checked(webdav.endpoint(url="http://192.168.7.7/dav"))
    assert answer.status_code == 403
    (found,) = answer.json()["errors"]
    assert found["pointer"] == "/endpoint/parameters/url"


def test_redirect_to_a_host_that_is_not_allowed_is_not_reached(dav: Faulty, checked: Ask) -> None:
    dav.fail("*", "/data", faulty_webdav.status(302, Location="http://192.168.7.7/data"))
    check = checked(dav.endpoint("data"))
    assert FAILED in states(check)
    assert error(check)["code"] in ("forbidden", "unsupported")


def test_silent_server_ends_with_the_time(short: Path, checked: Ask) -> None:
    def silent(handler: Any) -> None:
        time.sleep(30)
        handler.close_connection = True

    with (
        http_servers.misbehaving(silent) as url,
        service_process.function(short, DURATION_SECONDS="4") as function,
    ):
        endpoint = {
            "type": "s3",
            "path": "bucket",
            "parameters": {"endpoint": url, "access_key_id": "k", "secret_access_key": "canary-s"},
        }
        began = time.monotonic()
        check = checked(endpoint, by=function)
        assert time.monotonic() - began < 4 + 10
        function.wait_clean()
    assert states(check) == [FAILED, SKIPPED, SKIPPED, SKIPPED]
    assert error(check)["code"] == "incomplete"


def test_storage_of_the_site_is_written_to_only_where_it_may(
    webdav: Storage, folder: str, short: Path, checked: Ask
) -> None:
    filled(webdav, folder)
    secret = short.parent / f"{short.name}.secret"
    secret.write_text(webdav.parameters["pass"])
    parameters = {**webdav.parameters, "pass": {"file": str(secret)}}
    common = {"type": "webdav", "parameters": parameters, "root": folder}
    storages = {
        "inbox": {**common, "use": ["destination"]},
        "outbox": {**common, "use": ["source"]},
    }
    with service_process.function(short, site={**LOOPBACK, "storages": storages}) as function:
        inbox = {"storage": "inbox", "path": ""}
        assert states(checked(inbox, by=function, write=True)) == [OK, OK, OK, OK]
        outbox = {"storage": "outbox", "path": ""}
        assert states(checked(outbox, by=function)) == [OK, OK, OK, SKIPPED]
        refused = checked(outbox, by=function, write=True)
        assert refused.status_code == 403
        assert refused.json()["errors"][0]["pointer"] == "/endpoint/storage"


def test_wrong_requests_are_refused_with_their_members(function: Function, s3: Storage) -> None:
    for body, pointer in (
        ({"endpoint": s3.endpoint(), "write": "yes"}, "/write"),
        ({"endpoint": s3.endpoint(), "wite": True}, "/wite"),
        ({"endpoint": {**s3.endpoint(), "path": ""}, "write": True}, "/endpoint/path"),
    ):
        answer = function.post(body, path="/check")
        assert answer.status_code == 400, answer.text
        assert [it["pointer"] for it in answer.json()["errors"]] == [pointer]
    assert function.get("/check").status_code == 405
    assert function.get("/").json()["links"]["check"] == "/check"
