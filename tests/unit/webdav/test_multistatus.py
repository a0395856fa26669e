from __future__ import annotations

import subprocess
import sys

import pytest

from efss_transfer.webdav.multistatus import OWNCLOUD, Entry, Parser
from efss_transfer.webdav.reading.bad_listings import (
    BadListing,
    ListingTooLarge,
    Malformed,
    NotMultistatus,
    Truncated,
)

HEAD = (
    b'<?xml version="1.0"?><d:multistatus xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns" '
    b'xmlns:s="http://sabredav.org/ns">'
)
TAIL = b"</d:multistatus>"


def parse(body: bytes, size: int = 1 << 16) -> list[Entry]:
    parser = Parser()
    found = []
    for start in range(0, len(body), size):
        found += parser.feed(body[start : start + size])
    return found + parser.close()


def file(properties: bytes = b"", status: bytes = b"HTTP/1.1 200 OK", href: bytes = b"/f") -> bytes:
    return (
        b"<d:response><d:href>%s</d:href><d:propstat><d:prop>%s</d:prop>"
        b"<d:status>%s</d:status></d:propstat></d:response>" % (href, properties, status)
    )


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_entry_is_read_in_pieces_of_any_size(size: int) -> None:
    body = HEAD + file(
        b"<d:getcontentlength>12</d:getcontentlength><d:resourcetype/><oc:size>12</oc:size>"
        b"<d:getetag>&quot;e&quot;</d:getetag>"
        b"<d:getlastmodified>Sat, 28 Nov 2026 11:18:24 GMT</d:getlastmodified>"
        b"<oc:checksums><oc:checksum>SHA1:aa MD5:bb</oc:checksum></oc:checksums>"
        b"<d:quota-available-bytes>-3</d:quota-available-bytes>",
        href=b"/data/a%20b",
    )
    (entry,) = parse(body + TAIL, size)
    assert entry.href == "/data/a%20b"
    assert entry.length == 12
    assert entry.get("getetag") == '"e"'
    assert entry.get("getlastmodified") == "Sat, 28 Nov 2026 11:18:24 GMT"
    assert entry.get("size", OWNCLOUD) == "12"
    assert entry.get("quota-available-bytes") == "-3"
    assert entry.checksums == ("SHA1:aa", "MD5:bb")
    assert not entry.collection
    assert entry.failure is None


def test_folder_is_told_from_file() -> None:
    (folder,) = parse(HEAD + file(b"<d:resourcetype><d:collection/></d:resourcetype>") + TAIL)
    assert folder.collection


@pytest.mark.parametrize(
    ("properties", "length"),
    [
        (b"<d:getcontentlength>0</d:getcontentlength>", 0),
        (b"", "missing"),
        (b"<d:getcontentlength/>", "empty"),
        (b"<d:getcontentlength> </d:getcontentlength>", "empty"),
        (b"<d:getcontentlength>-1</d:getcontentlength>", "invalid"),
        (b"<d:getcontentlength>1e3</d:getcontentlength>", "invalid"),
        (b"<d:getcontentlength>99999999999999999999</d:getcontentlength>", "invalid"),
    ],
)
def test_unknown_length_is_no_zero(properties: bytes, length: object) -> None:
    (entry,) = parse(HEAD + file(properties) + TAIL)
    assert entry.length == length


@pytest.mark.parametrize("status", [403, 404, 425, 507])
def test_bad_status_of_properties_is_the_entrys_failure(status: int) -> None:
    (entry,) = parse(HEAD + file(status=b"HTTP/1.1 %d Some Words" % status) + TAIL)
    assert entry.failure == status


@pytest.mark.parametrize("status", [403, 404, 507])
def test_status_of_the_response_is_the_entrys_failure(status: int) -> None:
    body = b"<d:response><d:href>/f</d:href><d:status>HTTP/1.1 %d</d:status></d:response>" % status
    (entry,) = parse(HEAD + body + TAIL)
    assert (entry.status, entry.failure) == (status, status)


def test_several_resources_with_one_status_are_all_there() -> None:
    body = (
        b"<d:response><d:href>/a</d:href><d:href>/b</d:href>"
        b"<d:status>HTTP/1.1 423 Locked</d:status></d:response>"
    )
    entries = parse(HEAD + body + TAIL)
    assert [entry.href for entry in entries] == ["/a", "/b"]
    assert [entry.failure for entry in entries] == [423, 423]


def test_missing_properties_do_not_hide_those_that_are_there() -> None:
    body = (
        b"<d:response><d:href>/f</d:href>"
        b"<d:propstat><d:prop><oc:size/></d:prop><d:status>HTTP/1.1 404 Not Found</d:status>"
        b"</d:propstat><d:propstat><d:prop><d:getcontentlength>5</d:getcontentlength></d:prop>"
        b"<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
    )
    (entry,) = parse(HEAD + body + TAIL)
    assert entry.failure is None
    assert entry.length == 5
    assert entry.get("size", OWNCLOUD) is None


def test_file_in_processing_has_its_properties() -> None:
    (entry,) = parse(
        HEAD + file(b"<d:getcontentlength>5</d:getcontentlength>", b"HTTP/1.1 425 TOO EARLY") + TAIL
    )
    assert (entry.failure, entry.length) == (425, 5)


def test_entities_of_html_are_characters() -> None:
    (entry,) = parse(HEAD + file(href=b"/caf&eacute;&amp;&#x41;") + TAIL)
    assert entry.href == "/café&A"


def test_space_before_the_declaration_is_harmless() -> None:
    assert parse(b"\xef\xbb\xbf\r\n" + HEAD + file() + TAIL)[0].href == "/f"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<!DOCTYPE html><html><body>Log in", "html"),
        (b'<html lang="en">', "html"),
        (b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"/>', "html"),
        (b'{"installed": true}', "json"),
        (b"<Error><Code>AccessDenied</Code></Error>", "xml"),
        (b"Internal Server Error", "other"),
        (b"", "empty"),
        (b" \r\n", "empty"),
    ],
)
def test_other_body_is_named(body: bytes, kind: str) -> None:
    with pytest.raises(NotMultistatus) as caught:
        parse(body)
    assert caught.value.kind == kind


@pytest.mark.parametrize("cut", [1, 20, len(TAIL), len(TAIL) + 5, len(TAIL) + 40])
def test_body_that_breaks_off_is_no_listing(cut: int) -> None:
    with pytest.raises(Truncated):
        parse((HEAD + file() + TAIL)[:-cut])


@pytest.mark.parametrize(
    "body",
    [
        HEAD + file() + b"</d:wrong>",
        HEAD + file() + TAIL + b"<more/>",
        HEAD + b"<d:response><d:status>HTTP/1.1 200 OK</d:status></d:response>" + TAIL,
        HEAD + b"<d:response><d:href>/a</d:href><d:status>fine</d:status></d:response>" + TAIL,
        HEAD + file(href=b"/a&unknown;") + TAIL,
        b'<!DOCTYPE d [<!ENTITY a "aaa">]>' + HEAD + file(href=b"&a;") + TAIL,
        b'<!DOCTYPE d SYSTEM "file:///etc/passwd">' + HEAD + TAIL,
    ],
)
def test_malformed_listing_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse(body)


@pytest.mark.parametrize(
    "body",
    [
        HEAD + b"<a>" * 100,
        HEAD + b"<d:response><d:href>" + b"x" * 70_000,
        HEAD + b"<!--" + b"x" * 2_000_000,
        HEAD + b'<a b="' + b"x" * 2_000_000,
        HEAD + b"".join(b"<n%d/>" % number for number in range(5_000)),
        HEAD + b"<" + b"n" * 2_000,
    ],
)
def test_excess_is_refused_before_it_takes_memory(body: bytes) -> None:
    with pytest.raises(ListingTooLarge):
        parse(body + b">")


def test_every_bad_body_has_one_base() -> None:
    assert issubclass(NotMultistatus, BadListing)
    assert issubclass(ListingTooLarge, BadListing)


def test_memory_does_not_grow_with_the_listing() -> None:
    code = """
import resource, sys
from efss_transfer.webdav.multistatus import Parser
parser = Parser()
parser.feed(b'<d:multistatus xmlns:d="DAV:">')
one = (b'<d:response><d:href>/f%08d</d:href><d:propstat><d:prop><d:getcontentlength>1'
       b'</d:getcontentlength></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat>'
       b'</d:response>')
count, most = 0, []
for number in range(2000):
    count += len(parser.feed(b"".join(one % (number * 100 + k) for k in range(100))))
    if number in (200, 1999):
        most.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
parser.feed(b"</d:multistatus>")
parser.close()
print(count, most[1] - most[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    count, grown = map(int, done.stdout.split())
    assert count == 200_000
    assert grown < 2048, f"{grown} KiB more after {count} entries"
