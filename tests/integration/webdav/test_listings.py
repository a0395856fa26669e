"""Listings that rclone alone misreads: each file arrives, or an error names it."""

from __future__ import annotations

import unicodedata
from typing import Any, Final
from urllib.parse import quote

import pytest

from support import faulty_webdav as faulty
from support.faulty_webdav import Faulty
from support.listings import with_status
from support.service_process import Function
from support.storages import Storage, digest

SLOW: Final = pytest.mark.slow


def only_error(answer: Any) -> dict[str, Any]:
    (error,) = answer.json()["result"]["errors"]
    return dict(error)


# What servers behind proxies write for "/web/data" in their hrefs. rclone copies nothing of such a
# folder and reports success.
HREFS: Final = {
    "prefix stripped": (b"<d:href>/web/", b"<d:href>/"),
    "prefix added": (b"<d:href>/web/", b"<d:href>/inner/web/"),
    "prefix replaced, of another host": (b"<d:href>/web/", b"<d:href>http://inner:81/dav/"),
    "own case": (b"<d:href>/web/data", b"<d:href>/Web/DATA"),
    "needless escapes": (b"<d:href>/web/data", b"<d:href>/%77eb/d%61ta"),
}


@pytest.mark.field_case("A1")
@pytest.mark.parametrize("spelling", HREFS)
def test_every_file_is_copied_whatever_the_servers_hrefs_begin_with(
    spelling: str, function: Function, dav: Faulty, s3: Storage
) -> None:
    expected = dav.fill("web/data", {"a": b"1", "sub/b": b"22", "sub/deep/ü.txt": b"333"})
    dav.rewrite = lambda _, body: body.replace(*HREFS[spelling])
    to = f"hrefs/{list(HREFS).index(spelling)}"
    answer = function.copy(dav.endpoint("data", "/web"), s3.endpoint(to))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{to}") == expected


@pytest.mark.field_case("A1")
@pytest.mark.parametrize("spelling", ["prefix stripped", "own case"])
def test_second_request_has_nothing_to_upload_whatever_the_hrefs_begin_with(
    spelling: str, function: Function, dav: Faulty, s3: Storage
) -> None:
    # As a destination, a server whose listing rclone drops gets all files again each time.
    expected = s3.fill("bucket/hrefs/up", {"a": b"1", "sub/b": b"22"})
    dav.fill("web/data", {"old": b"0"})
    dav.rewrite = lambda _, body: body.replace(*HREFS[spelling])
    options = {"compare": "size"}
    to = dav.endpoint("data", "/web")
    answer = function.copy(s3.endpoint("hrefs/up"), to, options=options)
    assert answer.status_code == 200, answer.text
    assert dav.hashes("web/data") == {**expected, "old": digest(b"0")}
    again = function.copy(s3.endpoint("hrefs/up"), to, options=options)
    assert again.json()["totals"]["files"]["skipped"] == 2
    assert len({one.path for one in dav.seen("PUT")}) == len(dav.seen("PUT"))


@pytest.mark.field_case("A2")
@pytest.mark.parametrize("folder", ["zerlegt-é", "Ordner ü"])
def test_name_that_the_server_writes_decomposed_is_the_same_folder(
    folder: str, function: Function, dav: Faulty, s3: Storage
) -> None:
    # The server stores NFD, answers for NFC as well, and lists NFD.
    composed, decomposed = (quote(unicodedata.normalize(f, folder)) for f in ("NFC", "NFD"))
    assert composed != decomposed
    expected = dav.fill(unicodedata.normalize("NFC", folder), {"a": b"1", "sub/b": b"22"})
    dav.rewrite = lambda _, body: body.replace(composed.encode(), decomposed.encode())
    source = dav.endpoint(unicodedata.normalize("NFC", folder))
    to = f"decomposed/{len(folder)}"
    answer = function.copy(source, s3.endpoint(to))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{to}") == expected


@pytest.mark.field_case("A3")
@pytest.mark.parametrize("code", [301, 308, *(pytest.param(c, marks=SLOW) for c in (302, 307))])
def test_redirected_listing_is_followed(
    code: int, function: Function, dav: Faulty, s3: Storage
) -> None:
    expected = dav.fill("moved/data", {"a": b"1", "sub/b": b"22"})
    for path in ("/data", "/data/sub", "/data/a", "/data/sub/b"):
        there = faulty.status(code, Location=f"{dav.url}/moved{path}")
        dav.fail("*", path, there)
    answer = function.copy(dav.endpoint("data"), s3.endpoint(f"moved/{code}"))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/moved/{code}") == expected


@pytest.mark.field_case("A3")
@pytest.mark.parametrize(
    ("code", "there", "expected"),
    [
        (301, 200, "unsupported"),
        (302, 200, "unsupported"),
        (303, 200, "unsupported"),
        (302, 404, "source_not_found"),
        (307, 403, "permission_denied"),
        (302, 405, "unsupported"),
    ],
)
def test_redirect_that_leads_to_no_listing_is_named_with_its_target(
    code: int, there: int, expected: str, function: Function, dav: Faulty, s3: Storage
) -> None:
    # As single sign-on does it. rclone says that the folder does not exist.
    dav.fail("*", "/data", faulty.status(code, Location=f"{dav.url}/sso/login?back=secret"))
    dav.fail("*", "/sso/login", faulty.status(there, b"<!doctype html><title>Log in</title>"))
    answer = function.copy(dav.endpoint("data"), s3.endpoint("named"))
    error = only_error(answer)
    assert (error["code"], error["side"], error["retryable"]) == (expected, "source", False)
    assert f"{dav.url}/sso/login" in answer.text
    assert "back=secret" not in answer.text
    assert not s3.hashes("bucket/named")


@pytest.mark.field_case("A5")
@pytest.mark.parametrize("where", ["propstat", "response"])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (403, "permission_denied"),
        (404, "source_not_found"),
        (507, "storage_error"),
        pytest.param(500, "storage_error", marks=SLOW),
        # Waited for in vain, for 8 s.
        pytest.param(423, "storage_busy", marks=SLOW),
    ],
)
def test_entry_with_an_error_is_a_failed_file_with_its_code(
    where: str, code: int, expected: str, function: Function, dav: Faulty, s3: Storage
) -> None:
    # rclone drops such an entry, or makes it a file of 0 bytes, and reports success.
    dav.fill("data", {"good": b"1", "bad": b"22"})
    dav.fail("*", "/data/bad", faulty.status(code))
    dav.rewrite = lambda _, body: with_status(body, "/data/bad", code, where)
    to = f"entry/{where}/{code}"
    options = {"attempts": 1, "verify": "size"}
    answer = function.copy(dav.endpoint("data"), s3.endpoint(to), options=options)
    error = only_error(answer)
    assert (error["code"], error["side"]) == (expected, "source")
    assert [sample["path"] for sample in error["samples"]] == ["bad"]
    assert answer.json()["code"] == "partial"
    assert s3.hashes(f"bucket/{to}") == {"good": digest(b"1")}


@pytest.mark.field_case("A5")
@pytest.mark.parametrize("where", ["propstat", "response"])
def test_folder_with_an_error_is_no_success(
    where: str, function: Function, dav: Faulty, s3: Storage
) -> None:
    dav.fill("data", {"good": b"1", "sub/bad": b"22"})
    dav.fail("*", "/data/sub*", faulty.status(403))
    dav.rewrite = lambda _, body: with_status(body, "/data/sub/", 403, where)
    answer = function.copy(dav.endpoint("data"), s3.endpoint(f"folder/{where}"))
    error = only_error(answer)
    assert (error["code"], error["side"]) == ("permission_denied", "source")
    assert "sub" in error["samples"][0]["path"]
    assert s3.hashes(f"bucket/folder/{where}").keys() == {"good"}


CUT_OFF: Final = {
    "507": b"<d:response><d:href>/data/</d:href><d:status>HTTP/1.1 507 F</d:status></d:response>",
    "a limit": b"<d:response><d:href>/data/</d:href><d:status>HTTP/1.1 507 Full</d:status>"
    b"<d:error><d:number-of-matches-within-limits/></d:error></d:response>",
    "a description": b"<d:responsedescription>Result truncated</d:responsedescription>",
}


@pytest.mark.field_case("A5", variant="a listing that says that it is cut off")
@pytest.mark.parametrize("how", CUT_OFF)
def test_listing_that_says_that_it_is_cut_off_is_no_success(
    how: str, function: Function, dav: Faulty, s3: Storage
) -> None:
    dav.fill("data", {"good": b"1"})
    dav.rewrite = lambda _, body: body.replace(
        b"</d:multistatus>", CUT_OFF[how] + b"</d:multistatus>"
    )
    answer = function.copy(dav.endpoint("data"), s3.endpoint("cut-off"))
    error = only_error(answer)
    assert (error["code"], error["side"], error["retryable"]) == ("unsupported", "source", False)
    assert "not complete" in answer.text


SOMETHING_ELSE: Final = {
    "status.php": (b'{"installed":true,"maintenance":false}', "JSON"),
    "single sign-on": (b"<!DOCTYPE html><html><title>Log in</title>", "an HTML page"),
    "an S3 error": (b"<Error><Code>AccessDenied</Code></Error>", "Error"),
    "nothing": (b"", "empty"),
}


@pytest.mark.field_case("J12")
@pytest.mark.parametrize("kind", SOMETHING_ELSE)
@pytest.mark.parametrize("code", [200, pytest.param(207, marks=SLOW)])
def test_answer_that_is_no_listing_says_what_was_asked_and_what_came(
    kind: str, code: int, function: Function, dav: Faulty, s3: Storage
) -> None:
    # rclone reports an unreachable storage, tries three times, and says "EOF".
    body, said = SOMETHING_ELSE[kind]
    dav.fail("*", "*", faulty.status(code, body))
    answer = function.copy(dav.endpoint("data"), s3.endpoint("else"))
    error = only_error(answer)
    assert (error["code"], error["side"], error["retryable"]) == ("unsupported", "source", False)
    assert f"PROPFIND {dav.url}/data" in answer.text
    assert said in answer.text
    assert answer.json()["result"]["attempts"] == 1
