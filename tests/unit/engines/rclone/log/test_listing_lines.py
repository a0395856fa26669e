"""Log lines about entries that rclone passes over say where the entry is, and whose it is."""

from __future__ import annotations

import pytest

from efss_transfer.engines.rclone.log.listing_lines import (
    Finding,
    ListingRoot,
    Location,
    found_in,
)
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.result import Side

HTTP = ListingRoot("http", "data", "/pub")
DAV = ListingRoot("webdav", "data", "/web")
S3 = ListingRoot("s3", "bucket/data")
OTHER_S3 = ListingRoot("s3", "bucket/other")


def found(
    message: str,
    name: str = "",
    kind: str = "string",
    source: ListingRoot = DAV,
    destination: ListingRoot = S3,
) -> Finding | None:
    roots = {Side.SOURCE: source, Side.DESTINATION: destination}
    return found_in(message, name, kind, roots, Redactor(["canary-password"]))


@pytest.mark.parametrize(
    ("cause", "code", "retryable"),
    [
        ("failed to stat: HTTP Error: 403 Forbidden", "permission_denied", False),
        ("failed to stat: HTTP Error: 405 Method Not Allowed", "unsupported", False),
        ("failed to stat: HTTP Error: 500 Internal Server Error", "storage_error", True),
        ("failed to stat: HTTP Error: 503 Service Unavailable", "storage_busy", True),
        ('failed to stat: Head "http://h/a": EOF', "storage_unreachable", True),
    ],
)
def test_file_of_an_index_has_the_code_of_its_head(cause: str, code: str, retryable: bool) -> None:
    entry = found(f"skipping because of error: {cause}", "sub/bad", source=HTTP)
    assert entry is not None
    assert (entry.location, entry.path, entry.sides) == (
        Location.FILE,
        "sub/bad",
        (Side.SOURCE,),
    )
    assert (entry.failure.code, entry.failure.retryable) == (code, retryable)


def test_link_to_nothing_loses_nothing() -> None:
    assert found("skipping because of error: object not found", "x", source=HTTP) is None


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ('"HTTP/1.1 425 Too Early"', "storage_busy"),
        ('"HTTP/1.1 404 Not Found" "HTTP/1.1 200 OK"', "source_not_found"),
        ('"HTTP/1.1 507 Insufficient Storage"', "storage_error"),
    ],
)
def test_webdav_entry_has_the_code_of_its_first_status(statuses: str, code: str) -> None:
    entry = found(f"Ignoring item with bad status [{statuses}]", "sub/bad")
    assert entry is not None
    assert (entry.location, entry.path, entry.failure.code) == (
        Location.EITHER,
        "sub/bad",
        code,
    )


@pytest.mark.parametrize(
    ("entry", "folder", "location", "path"),
    [
        ("/data/a", "/web/data/", Location.OUTSIDE, ""),
        ("/dav/data/a", "/web/data/", Location.OUTSIDE, ""),
        ("/inner/web/data/a", "/web/data/", Location.UNKNOWN, ""),
        ("/Web/DATA/a", "/web/data/", Location.UNKNOWN, ""),
        ("/web/data/cafe\u0301/a", "/web/data/café/", Location.UNKNOWN, ""),
        ("/web/4711/a", "/web/data/sub/", Location.OUTSIDE, "sub"),
        ("/beside/", "/web/data/", Location.OUTSIDE, ""),
    ],
)
def test_webdav_entry_outside_of_its_folder(
    entry: str, folder: str, location: Location, path: str
) -> None:
    line = f'Item with unknown path received: "{entry}", "{folder}"'
    known = found(line, destination=ListingRoot("webdav", "other", "/web"))
    assert known is not None
    assert (known.location, known.path, known.sides) == (location, path, (Side.SOURCE,))
    assert entry in known.failure.message
    assert folder in known.failure.message


@pytest.mark.parametrize("entry", ["/web/data", "/data/", "/web/", "/", "/WEB/data"])
def test_folder_itself_and_those_above_lose_nothing(entry: str) -> None:
    assert found(f'Item with unknown path received: "{entry}", "/web/data/"') is None


def test_side_is_open_where_both_have_the_same_path() -> None:
    line = 'Item with unknown path received: "/x/data/a", "/web/data/"'
    entry = found(line, destination=DAV)
    assert entry is not None
    assert entry.sides == (Side.SOURCE, Side.DESTINATION)


def test_bucket_and_folder_tell_the_side() -> None:
    line = 'failed to URL decode "other/100%.txt" in listing: invalid URL escape "%.t"'
    entry = found(line, "S3 bucket bucket path other", "*s3.Fs", S3, OTHER_S3)
    assert entry is not None
    assert (entry.location, entry.path, entry.sides) == (
        Location.FILE,
        "100%.txt",
        (Side.DESTINATION,),
    )


def test_folder_of_a_bucket_is_no_file() -> None:
    line = 'failed to URL decode "data/50%/" in listing common prefix: invalid URL escape "%/"'
    entry = found(line, "S3 bucket bucket path data", "*s3.Fs", S3, DAV)
    assert entry is not None
    assert (entry.location, entry.path) == (Location.FOLDER, "50%")


@pytest.mark.parametrize(
    ("line", "kind", "storage"),
    [
        ('Odd name received "Data/a"', "*s3.Fs", "s3"),
        ('Odd directory name received "Data/sub/"', "*azureblob.Fs", "azureblob"),
        ('Odd name received "/data/\\u00fc"', "*googlecloudstorage.Fs", "google cloud storage"),
        ("Nil common prefix received", "*s3.Fs", "s3"),
    ],
)
def test_key_in_another_spelling_of_the_folder(line: str, kind: str, storage: str) -> None:
    root = ListingRoot(storage, "bucket/data")
    entry = found(line, "it bucket bucket path data", kind, root, DAV)
    assert entry is not None
    assert (entry.location, entry.sides) == (Location.UNKNOWN, (Side.SOURCE,))
    assert entry.failure.code == "storage_error"


def test_marker_of_the_folder_itself_loses_nothing() -> None:
    for name in ("data", "Data/", "/data/"):
        line = f'Odd name received "{name}"'
        assert found(line, "S3 bucket bucket path data", "*s3.Fs", S3, DAV) is None


def test_message_has_no_secret() -> None:
    line = 'Odd name received "x/canary-password"'
    entry = found(line, "S3 bucket bucket path data", "*s3.Fs", S3, DAV)
    assert entry is not None
    assert "canary" not in entry.failure.message
