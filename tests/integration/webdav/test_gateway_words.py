"""Results of transfers behind the WebDAV gateway: the servers' own words, and warnings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support import faulty_webdav as faulty
from support.cli_user import User
from support.contract import complaints
from support.faulty_webdav import Faulty
from support.nextcloud import Nextcloud, errors, faults
from support.nextcloud.errors import DavError
from support.service_process import Function
from support.storages import Storage, digest

BEFORE_1970 = -520_000_000.0


def only_error(answer: Any, status: int) -> dict[str, Any]:
    """The one error of an answer, whose document fits its schema."""
    assert answer.status_code == status, answer.text
    document: dict[str, Any] = answer.json()
    assert complaints("problem", document) == []
    (error,) = document["result"]["errors"]
    (sample,) = error["samples"]
    return {**error, "path": sample.get("path"), "message": sample["message"]}


def test_full_storage_says_how_much_is_missing(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    s3.fill("bucket/words-quota", {"small": b"x", "large": b"x" * 5000})
    cloud.user().quota = 1000
    answer = function.copy(s3.endpoint("words-quota"), cloud.storage().endpoint("to"))
    error = only_error(answer, 502)
    assert answer.json()["code"] == "partial"
    assert (error["code"], error["side"]) == ("quota_exceeded", "destination")
    assert (error["retryable"], error["path"]) == (False, "large")
    assert "Insufficient space in " in error["message"]
    assert error["message"].endswith("Exception\\InsufficientStorage: 507 Insufficient Storage")
    assert answer.json()["result"]["rclone"]["webdav_gateway"] == ["destination"]
    assert cloud.hashes("to") == {"small": digest(b"x")}


@pytest.mark.parametrize(
    ("refusal", "status", "code", "retryable"),
    [
        (errors.locked("/to/f"), 503, "storage_busy", True),
        (errors.invalid_path('"/" is not allowed'), 422, "name_refused", False),
        (errors.forbidden("Not in this folder."), 422, "permission_denied", False),
        (errors.forbidden(), 422, "permission_denied", True),
        (errors.bad_request("Expected filesize of 1 bytes"), 502, "checksum_mismatch", True),
        (errors.conflict("Something is in the way."), 502, "storage_error", False),
    ],
    ids=lambda value: value.exception.rpartition("\\")[2] if isinstance(value, DavError) else None,
)
def test_upload_that_is_refused_for_good(
    refusal: DavError,
    status: int,
    code: str,
    retryable: bool,
    function: Function,
    cloud: Nextcloud,
    s3: Storage,
) -> None:
    s3.fill("bucket/words-refused", {"f": b"x"})
    cloud.fail("PUT", "*/to/f", faults.error(refusal))
    answer = function.copy(
        s3.endpoint("words-refused"), cloud.storage().endpoint("to"), options={"attempts": 1}
    )
    error = only_error(answer, status)
    assert (error["code"], error["side"]) == (code, "destination")
    assert (error["retryable"], error["path"]) == (retryable, "f")
    assert error["message"].startswith(
        f"{refusal.message}: {refusal.exception}: {refusal.status} ".removeprefix(": ")
    )


def test_refusal_that_passes_is_tried_again_although_it_is_a_403(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    expected = s3.fill("bucket/words-403", {"f": b"x"})
    # Of the first attempt: rclone tries no upload again after a 403.
    cloud.fail("PUT", "*/to/f", faults.error(errors.forbidden()), times=1)
    answer = function.copy(s3.endpoint("words-403"), cloud.storage().endpoint("to"))
    assert answer.status_code == 200, answer.text
    assert answer.json()["attempts"] == 2
    assert answer.json()["errors"] == []
    assert cloud.hashes("to") == expected


def test_name_that_nextcloud_reserves(function: Function, cloud: Nextcloud, s3: Storage) -> None:
    s3.fill("bucket/words-name", {"a/.htaccess": b"x", "a/good": b"y"})
    answer = function.copy(s3.endpoint("words-name"), cloud.storage().endpoint("to"))
    error = only_error(answer, 502)
    assert (error["code"], error["side"]) == ("name_refused", "destination")
    assert (error["retryable"], error["path"]) == (False, "a/.htaccess")
    assert "Exception\\InvalidPath: 400 Bad Request" in error["message"]
    assert cloud.hashes("to") == {"a/good": digest(b"y")}


@pytest.mark.parametrize("side", ["source", "destination"])
def test_login_that_is_refused(
    side: str, function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    s3.fill("bucket/words-login", {"f": b"x"})
    wrong = cloud.storage().endpoint("to")
    wrong["parameters"] = {**wrong["parameters"], "pass": "a wrong password"}
    ends = {"source": s3.endpoint("words-login"), "destination": s3.endpoint("words-to")}
    answer = function.post({**ends, side: wrong})
    error = only_error(answer, 422)
    assert (error["code"], error["side"]) == ("authentication_failed", side)
    assert error["retryable"] is False
    assert "Exception\\NotAuthenticated: 401 Unauthorized" in error["message"]
    assert "check the user and password or token" in error["message"]
    assert "a wrong password" not in answer.text


def test_file_that_may_not_be_read(function: Function, dav: Faulty, s3: Storage) -> None:
    dav.fill("data", {"good": b"1", "bad": b"22"})
    dav.fail("*", "/data/bad", faulty.sabre(403, "Some\\Exception\\Refusal", "Not for you."))
    dav.rewrite = lambda _, body: refused_entry(body, b"/data/bad")
    answer = function.copy(
        dav.storage.endpoint("data"), s3.endpoint("words-entry"), options={"attempts": 1}
    )
    error = only_error(answer, 502)
    assert (error["code"], error["side"]) == ("permission_denied", "source")
    assert (error["retryable"], error["path"]) == (False, "bad")
    assert "Not for you.: Some\\Exception\\Refusal: 403 Forbidden" in error["message"]
    assert answer.json()["result"]["totals"]["files"]["failed"] == 1
    assert s3.hashes("bucket/words-entry") == {"good": digest(b"1")}


def test_entry_that_a_filter_by_size_passes_over_is_a_failed_file(
    function: Function, dav: Faulty, s3: Storage
) -> None:
    dav.fill("data", {"good": b"1" * 10, "bad": b"2" * 10})
    dav.fail("*", "/data/bad", faulty.status(403))
    dav.rewrite = lambda _, body: refused_entry(body, b"/data/bad")
    request = {
        "source": dav.storage.endpoint("data"),
        "destination": s3.endpoint("words-filtered"),
        "selection": {"min_size": 5},
    }
    error = only_error(function.post(request), 502)
    assert (error["code"], error["side"]) == ("permission_denied", "source")
    assert (error["retryable"], error["path"]) == (False, "bad")
    assert error["message"] == "403 Forbidden"
    # Once it can be read, nothing of that is left.
    dav.heal()
    dav.rewrite = lambda _, body: body
    answer = function.post(request)
    assert answer.status_code == 200, answer.text
    assert answer.json()["errors"] == []


def refused_entry(body: bytes, path: bytes) -> bytes:
    """A listing in which one entry has the status 403 and no properties."""
    begin = body.find(b"<d:response><d:href>" + path + b"<")
    if begin < 0:
        return body
    end = body.index(b"</d:response>", begin)
    entry = b"<d:response><d:href>%s</d:href><d:status>HTTP/1.1 403 No</d:status>" % path
    return body[:begin] + entry + body[end:]


def test_file_that_vanished_is_missing_at_the_source(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    cloud.write("data/f", b"x")
    cloud.fail("GET", "*/data/f", faults.error(errors.not_found("/data/f")))
    answer = function.copy(cloud.storage().endpoint("data"), s3.endpoint("words-gone"))
    error = only_error(answer, 422)
    assert (error["code"], error["side"]) == ("source_not_found", "source")
    assert (error["retryable"], error["path"]) == (False, "f")
    assert "Exception\\NotFound: 404 Not Found" in error["message"]


def test_server_that_is_down(function: Function, dav: Faulty, s3: Storage) -> None:
    s3.fill("bucket/words-down", {"f": b"x"})
    end = dav.storage.endpoint("to")
    end["parameters"] = {**end["parameters"], "url": "http://127.0.0.1:9"}
    answer = function.copy(s3.endpoint("words-down"), end, options={"attempts": 1})
    error = only_error(answer, 502)
    assert (error["code"], error["side"]) == ("storage_unreachable", "destination")
    assert error["retryable"] is True
    assert "127.0.0.1:9" in error["message"]
    assert "refused" in error["message"]


def test_folder_that_may_not_be_made_fails_its_files(
    function: Function, cloud: Nextcloud, s3: Storage
) -> None:
    s3.fill("bucket/words-folder", {"a/f": b"x"})
    cloud.fail("MKCOL", "*/to/a", faults.error(errors.forbidden("No folders here.")))
    answer = function.copy(
        s3.endpoint("words-folder"), cloud.storage().endpoint("to"), options={"attempts": 1}
    )
    error = only_error(answer, 422)
    assert (error["code"], error["side"]) == ("permission_denied", "destination")
    assert error["path"] == "a/f"
    assert error["message"].startswith("No folders here.: Sabre\\DAV\\Exception\\Forbidden: 403")


def test_time_that_nextcloud_does_not_keep_is_a_warning(
    function: Function, dav: Faulty, cloud: Nextcloud, tmp_path: Path
) -> None:
    dav.fill("data", {"deep/old": b"x", "new": b"y"})
    dav.store("/data/deep/old", b"x", BEFORE_1970)
    answer = function.copy(dav.storage.endpoint("data"), cloud.storage().endpoint("to"))
    assert answer.status_code == 200, answer.text
    document = answer.json()
    assert complaints("result", document) == []
    (warning,) = document["warnings"]
    assert (warning["code"], warning["count"]) == ("time_not_kept", 1)
    assert "options.compare" in warning["message"]
    assert warning["samples"] == [
        {
            "path": "deep/old",
            "message": "The server refuses the modification time 1953-07-10T11:33:20Z.",
        }
    ]
    assert document["rclone"]["webdav_gateway"] == ["source", "destination"]
    assert cloud.hashes("to") == {"deep/old": digest(b"x"), "new": digest(b"y")}

    # A person with the command sees it, and gets it as JSON.
    user = User.at(tmp_path / "home", EFSS_TRANSFER_URL=function.url)
    user.write_endpoints(
        old={"type": "webdav", "parameters": dav.storage.parameters},
        cloud={"type": "webdav", "parameters": cloud.storage().parameters},
    )
    done = user.run("copy", "old:data", "cloud:again")
    assert done.returncode == 0, done.stderr
    assert "warning: time_not_kept (1 case): The storage shows another" in done.stdout
    assert "  deep/old: The server refuses the modification time 1953-" in done.stdout


@pytest.mark.parametrize("size", [10, 200_000], ids=["PUT", "MOVE"])
def test_server_that_replaces_what_is_not_to_be_replaced_is_noted(
    size: int, function: Function, dav: Faulty, s3: Storage
) -> None:
    s3.fill(f"bucket/words-conditions{size}", {"a": b"a" * size, "b": b"b" * size})
    dav.fill("to", {"b": b"of another client, since the listing"})
    dav.conditions = False
    dav.rewrite = lambda _, body: hidden_entry(body, b"/to/b")
    answer = function.copy(
        s3.endpoint(f"words-conditions{size}"),
        dav.storage.endpoint("to"),
        options={"transfers": 1},
    )
    assert answer.status_code == 200, answer.text
    (warning,) = answer.json()["warnings"]
    assert (warning["code"], warning["count"]) == ("preconditions_ignored", 1)
    assert [sample["path"] for sample in warning["samples"]] == ["b"]
    assert dav.hashes("to") == {"a": digest(b"a" * size), "b": digest(b"b" * size)}


def hidden_entry(body: bytes, path: bytes) -> bytes:
    """A listing without one of its entries."""
    begin = body.find(b"<d:response><d:href>" + path + b"<")
    if begin < 0 or body.count(b"<d:response>") == 1:
        return body
    end = body.index(b"</d:response>", begin) + len(b"</d:response>")
    return body[:begin] + body[end:]


def test_transfer_without_webdav_has_no_gateway(function: Function, s3: Storage) -> None:
    s3.fill("bucket/words-none", {"f": b"x"})
    answer = function.copy(s3.endpoint("words-none"), s3.endpoint("words-none-to"))
    assert answer.status_code == 200, answer.text
    assert "webdav_gateway" not in answer.json()["rclone"]
    assert "warnings" not in answer.json()


@pytest.mark.field_case("K13")
@pytest.mark.parametrize("source", ["webdav", "s3"])
def test_source_that_is_read_without_the_gateway_is_warned_of(
    source: str, direct: Function, function: Function, dav: Faulty, s3: Storage
) -> None:
    """rclone reads another document below the first folder as one without entries."""
    name = f"read-{source}"
    whole = dav.fill(name, {"a": b"1", "sub/b": b"2"})
    s3.fill(f"bucket/{name}", {"a": b"1", "sub/b": b"2"})
    ends = {"webdav": dav.endpoint(name), "s3": s3.endpoint(name)}
    for running in (direct, function):
        answer = running.copy(ends[source], s3.endpoint(f"{name}-to"))
        assert answer.status_code == 200, answer.text
        assert s3.hashes(f"bucket/{name}-to") == whole
        codes = [warning["code"] for warning in answer.json().get("warnings", ())]
        is_warned = source == "webdav" and running is direct
        assert codes == (["without_gateway"] if is_warned else [])
