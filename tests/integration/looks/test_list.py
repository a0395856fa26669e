"""POST /list: what is in a folder, or why it cannot be told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from support import endless, faulty_webdav, http_index, listing_ftp, odd_s3, service_process
from support.faulty_webdav import Faulty
from support.listings import with_status
from support.nextcloud import Nextcloud
from support.service_process import LOOPBACK, Function
from support.storages import Storage

FILES: Final = {"b.txt": b"12", "a/x.txt": b"1", "Z/y": b"", "ü b.txt": b"333"}
KINDS: Final = ("wsgidav", "rclone", "s3", "sftp", "ftp", "gcs")
Ask = Callable[..., Any]


def filled(storage: Storage, folder: str) -> None:
    storage.fill(f"{storage.base}/{folder}" if storage.base else folder, FILES)


def problem(answer: Any) -> tuple[int, str, str]:
    document = answer.json()
    return answer.status_code, document["code"], document["detail"]


@pytest.mark.parametrize("kind", KINDS)
def test_folder_is_listed_folders_first_then_by_name(
    kind: str, storages: dict[str, Storage], folder: str, listed: Ask
) -> None:
    storage = storages[kind]
    filled(storage, folder)
    listing = listed(storage.endpoint(folder)).json()
    entries = listing["entries"]
    assert [(it["name"], it["type"], it.get("size")) for it in entries] == [
        ("Z", "folder", None),
        ("a", "folder", None),
        ("b.txt", "file", 2),
        ("ü b.txt", "file", 3),
    ]
    assert (listing["count"], listing["truncated"], listing["errors"]) == (4, False, [])
    now = datetime.now(UTC)
    for entry in entries:
        # A prefix of an object store has no time.
        assert ("modified" in entry) == (entry["type"] == "file" or not storage.base)
        if "modified" in entry:
            assert abs(datetime.fromisoformat(entry["modified"]) - now) < timedelta(minutes=3)


@pytest.mark.parametrize("kind", KINDS)
def test_file_is_listed_as_itself_and_not_with_a_slash(
    kind: str, storages: dict[str, Storage], folder: str, listed: Ask
) -> None:
    storage = storages[kind]
    filled(storage, folder)
    listing = listed(storage.endpoint(f"{folder}/b.txt")).json()
    assert [(it["name"], it["type"], it["size"]) for it in listing["entries"]] == [
        ("b.txt", "file", 2)
    ]
    assert (listing["count"], listing["truncated"]) == (1, False)
    status, code, _ = problem(listed(storage.endpoint(f"{folder}/b.txt/")))
    assert (status, code in ("not_a_directory", "source_not_found")) == (422, True)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_folder_is_not_found(
    kind: str, storages: dict[str, Storage], folder: str, listed: Ask
) -> None:
    status, code, detail = problem(listed(storages[kind].endpoint(folder)))
    assert (status, code) == (422, "source_not_found")
    assert detail == "The folder does not exist. Check `path` of this endpoint."


def test_empty_folder_and_root_are_listings(
    storages: dict[str, Storage], folder: str, listed: Ask
) -> None:
    for kind in ("wsgidav", "sftp", "ftp"):
        storage = storages[kind]
        (storage.details["folder"] / folder).mkdir()
        assert listed(storage.endpoint(folder)).json()["entries"] == []
        root = listed(storage.endpoint()).json()["entries"]
        assert folder in [it["name"] for it in root]
    buckets = listed({**storages["s3"].endpoint(), "path": ""}).json()["entries"]
    assert {"name": "bucket", "type": "folder"}.items() <= buckets[0].items()


def test_limit_shows_the_first_and_counts_all(s3: Storage, folder: str, listed: Ask) -> None:
    filled(s3, folder)
    listing = listed(s3.endpoint(folder), limit=2).json()
    assert [it["name"] for it in listing["entries"]] == ["Z", "a"]
    assert (listing["count"], listing["truncated"]) == (4, True)


def test_hundred_thousand_entries_take_little_memory(function: Function, listed: Ask) -> None:
    with endless.source("s3, 100 pages") as end:
        before = function.worker().memory_info().rss
        listing = listed(end, limit=3).json()
        grown = function.worker().memory_info().rss - before
    assert listing["count"] == 100_000
    assert [it["name"] for it in listing["entries"]] == ["00000-000", "00000-001", "00000-002"]
    # All of them as one document would take 100 MB.
    assert grown < 30_000_000


@pytest.mark.parametrize("kind", ["wsgidav", "sftp", "ftp"])
def test_wrong_password_is_refused(
    kind: str, storages: dict[str, Storage], folder: str, listed: Ask
) -> None:
    wrong = storages[kind].endpoint(folder, **{"pass": "canary-wrong-password"})
    assert problem(listed(wrong))[:2] == (422, "authentication_failed")


def test_wrong_port_and_wrong_host_are_unreachable(webdav: Storage, listed: Ask) -> None:
    refused = listed(webdav.endpoint(url="http://127.0.0.1:9"))
    assert problem(refused)[:2] == (502, "storage_unreachable")
    unknown = listed(webdav.endpoint(url="http://cloud.invalid"))
    assert problem(unknown)[:2] == (502, "storage_unreachable")
    assert "no such host" in unknown.json()["detail"]


def test_host_that_the_site_does_not_allow_is_forbidden(
    webdav: Storage, function: Function, listed: Ask
) -> None:
    answer = listed(webdav.endpoint(url="http://192.168.7.7/dav"))
    assert answer.status_code == 403
    (error,) = answer.json()["errors"]
    assert error["pointer"] == "/endpoint/parameters/url"


def test_redirect_to_a_host_that_is_not_allowed_is_not_followed(dav: Faulty, listed: Ask) -> None:
    dav.fail("*", "/data", faulty_webdav.status(302, Location="http://192.168.7.7/data"))
    answer = listed(dav.endpoint("data"))
    assert answer.status_code >= 400
    assert answer.json()["code"] in ("forbidden", "unsupported")


def test_login_page_is_no_empty_folder(dav: Faulty, direct: Function, listed: Ask) -> None:
    page = b"<!DOCTYPE html><html><title>Log in</title></html>"
    dav.fail("*", "*", faulty_webdav.status(200, page, Content_Type="text/html"))
    for by in (None, direct):
        answer = listed(dav.endpoint("data"), **({} if by is None else {"by": by}))
        assert answer.status_code in (422, 502), answer.text


def test_entry_with_an_error_is_reported_beside_the_others(
    dav: Faulty, direct: Function, listed: Ask
) -> None:
    dav.fill("data", {"bad.txt": b"22", "good.txt": b"1"})
    dav.rewrite = lambda _, body: with_status(body, "/data/bad.txt", 500, "propstat")
    for by in (None, direct):
        listing = listed(dav.endpoint("data"), **({} if by is None else {"by": by})).json()
        assert [it["name"] for it in listing["entries"]] == ["good.txt"]
        (error,) = listing["errors"]
        assert error["samples"][0]["path"] == "bad.txt"
        assert "side" not in error


def test_listing_of_another_folder_is_no_listing(
    direct: Function, dav: Faulty, listed: Ask
) -> None:
    dav.fill("web/data", {"a": b"1"})
    dav.rewrite = lambda _, body: body.replace(b"<d:href>/web/data", b"<d:href>/web/4711")
    listing = listed(dav.endpoint("data", "/web"), by=direct).json()
    assert listing.get("entries", []) == []
    assert "/web/data" in str(listing)
    assert listing.get("code") or listing["errors"]


def test_file_of_an_index_that_refuses_head_is_reported(listed: Ask) -> None:
    with http_index.serving({"data/bad.txt": b"22", "data/good.txt": b"1"}) as index:
        index.fail = lambda method, path: 403 if "bad" in path and method == "HEAD" else 0
        listing = listed(index.endpoint("data/")).json()
    assert [it["name"] for it in listing["entries"]] == ["good.txt"]
    assert [it["code"] for it in listing["errors"]] == ["permission_denied"]


def test_key_that_the_listing_does_not_encode_is_reported(
    s3: Storage, folder: str, listed: Ask
) -> None:
    with odd_s3.before(s3) as odd:
        s3.fill(f"bucket/{folder}", {"100%.txt": b"22", "good.txt": b"1"})
        odd.encodes = False
        listing = listed(odd.endpoint(folder, provider="Minio")).json()
    assert [it["name"] for it in listing["entries"]] == ["good.txt"]
    assert [it["code"] for it in listing["errors"]] == ["name_refused"]


def test_line_of_an_ftp_server_that_cannot_be_read_is_reported(tmp_path: Path, listed: Ask) -> None:
    with listing_ftp.serving(tmp_path, groups=["users", "domain users"]) as server:
        server.fill("", {"data/a.txt": b"1", "data/b.txt": b"22", "data/sub/c.txt": b"1"})
        listing = listed(server.endpoint("data")).json()
    names = {it["name"] for it in listing["entries"]}
    lost = {sample["path"] for error in listing["errors"] for sample in error["samples"]}
    assert names | lost == {"a.txt", "b.txt", "sub"}
    assert names
    assert lost
    assert not names & lost


def test_nextcloud_is_listed_and_its_missing_user_is_named(cloud: Nextcloud, listed: Ask) -> None:
    storage = cloud.storage()
    storage.fill("data", {"a.txt": b"1"})
    assert [it["name"] for it in listed(storage.endpoint("data")).json()["entries"]] == ["a.txt"]
    assert problem(listed(storage.endpoint("nothing")))[1] == "source_not_found"


def test_storage_of_the_site_is_listed_by_its_name(
    webdav: Storage, folder: str, short: Path, listed: Ask
) -> None:
    filled(webdav, folder)
    secret = short.parent / f"{short.name}.secret"
    secret.write_text(webdav.parameters["pass"])
    parameters = {**webdav.parameters, "pass": {"file": str(secret)}}
    common = {"type": "webdav", "parameters": parameters, "root": folder}
    site = {
        **LOOPBACK,
        "storages": {
            "measurements": common,
            "inbox": {**common, "use": ["destination"]},
        },
    }
    with service_process.function(short, site=site) as function:
        listing = listed({"storage": "measurements", "path": "a"}, by=function).json()
        assert [it["name"] for it in listing["entries"]] == ["x.txt"]
        # Only written to: a caller may not see what others have put there.
        inbox = listed({"storage": "inbox", "path": ""}, by=function)
        assert problem(inbox)[:2] == (403, "forbidden")
        assert inbox.json()["errors"][0]["pointer"] == "/endpoint/storage"
        misspelt = listed({"storage": "measurments", "path": ""}, by=function)
        assert "measurements" in misspelt.json()["errors"][0]["message"]


def test_wrong_requests_are_refused_with_their_members(function: Function, webdav: Storage) -> None:
    endpoint = webdav.endpoint()
    for body, pointer in (
        ({"endpoint": endpoint, "limit": 0}, "/limit"),
        ({"endpoint": endpoint, "limit": 10_001}, "/limit"),
        ({"endpoint": endpoint, "limt": 5}, "/limt"),
        ({"endpoint": {**endpoint, "type": "webdv"}}, "/endpoint/type"),
        ({"endpoint": {"type": "webdav", "parameters": {"url": "http://x"}}}, "/endpoint"),
        ({}, ""),
    ):
        answer = function.post(body, path="/list")
        assert answer.status_code == 400, answer.text
        assert pointer in [it["pointer"] for it in answer.json()["errors"]]
    assert function.get("/list").status_code == 405
    streamed = function.post(
        {"endpoint": endpoint}, "/list", headers={"Accept": "text/event-stream"}
    )
    assert streamed.status_code == 406
    assert function.get("/").json()["links"]["list"] == "/list"


def test_index_that_is_not_whole_is_no_listing_without_errors(listed: Ask) -> None:
    """A listing is looked at as a copy's is: links that rclone leaves out, and further pages."""
    files = {"data/a.txt": b"1", "data/b.txt": b"22"}
    with http_index.serving(files) as index:
        index.rewrite = lambda _, query, page: (
            b'<ul><a href="z.txt">z</a></ul>'
            if query
            else page.replace(b'"b.txt"', b'"b.txt?raw=1"') + b'<a href="?page=2">2</a>'
        )
        listing = listed(index.endpoint("data/")).json()
    assert [entry["name"] for entry in listing["entries"]] == ["a.txt"]
    (group,) = listing["errors"]
    assert (group["code"], group["count"]) == ("unsupported", 2)
    assert {sample.get("path", "") for sample in group["samples"]} == {"", "b.txt"}
