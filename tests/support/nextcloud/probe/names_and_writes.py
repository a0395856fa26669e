"""Names, PUT and its conditions, times, ETags, checksums."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from urllib.parse import quote

from support.nextcloud.probe.client import Client

Observations = Iterator[tuple[str, object]]
ASKED = (
    '<d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns"><d:prop>'
    "<d:displayname/><d:getlastmodified/><d:getcontentlength/><d:resourcetype/><d:getetag/>"
    "<d:getcontenttype/><d:quota-available-bytes/><oc:checksums/><oc:permissions/><oc:size/>"
    "<d:nothing/></d:prop></d:propfind>"
)
_NAMES = (
    *(".htaccess", ".HTACCESS", "x.part", "x.filepart", "x.Part", "back\\slash", "tab\tx"),
    *("n" * 250, "n" * 251, "é" * 126, " lead", "trail ", "dot.", "..x", "a:b", "con", "a*b"),
    *("e\u0301", "q?", "%25", "😀", "\u202e", "A", "a", "!$&'()+,;=@[]{}|^`\"<>~#%_-."),
)


def names(ask: Client) -> Observations:
    """Accepted and refused names, and how a listing spells them."""
    ask("MKCOL", "names")
    for name in _NAMES:
        answer = ask.ask("PUT", f"{ask.files}/probe/names/{quote(name, safe='')}", "x")
        yield f"PUT {name[:20]!r} of {len(name.encode())} bytes", answer
    for name in ("dir.part", ".htaccess", "back\\slash"):
        yield f"MKCOL {name}", ask("MKCOL", f"names/{name}")
    yield "PUT below x.part", ask("PUT", "names/dir.part/x", "x")
    yield "PUT with ./ and //", ask.ask("PUT", f"{ask.files}/probe//names/./y", "x")
    listed = ask("PROPFIND", "names", ASKED, Depth=1)
    yield (
        "names as listed",
        sorted(
            href.removeprefix(ask.files + "/probe/names/")
            for href in listed.find("<d:href>(.*?)</")
        ),
    )


def puts(ask: Client) -> Observations:
    """PUT, with and without conditions."""
    ask("MKCOL", "put")
    new = ask("PUT", "put/a", "one")
    yield "PUT new", new
    yield "PUT over", ask("PUT", "put/a", "two")
    etag = ask("HEAD", "put/a").etag
    yield "PUT If-None-Match: * over", ask("PUT", "put/a", "x", If_None_Match="*")
    yield "PUT If-None-Match: * new", ask("PUT", "put/b", "x", If_None_Match="*")
    yield "PUT If-Match right", ask("PUT", "put/a", "three", If_Match=etag)
    yield "PUT If-Match wrong", ask("PUT", "put/a", "x", If_Match='"x"')
    yield "PUT If-Match, nothing there", ask("PUT", "put/c", "x", If_Match='"x"')
    yield "PUT If wrong", ask("PUT", "put/a", "x", If='(["x"])')
    old = "Tue, 14 Nov 2000 22:13:20 GMT"
    yield "PUT If-Unmodified-Since old", ask("PUT", "put/a", "x", If_Unmodified_Since=old)
    yield "content after refusals", ask("GET", "put/a").body
    yield "PUT parent missing", ask("PUT", "nope/a", "x")
    yield "PUT below a file", ask("PUT", "put/a/b", "x")
    yield "PUT onto a folder", ask("PUT", "put", "x")
    yield "PUT Content-Range", ask("PUT", "put/a", "x", Content_Range="bytes 0-0/2")
    yield "PUT empty", ask("PUT", "put/empty", "")
    yield "GET empty", ask("GET", "put/empty").body


def times(ask: Client) -> Observations:
    """X-OC-Mtime, and the file after a refused time."""
    ask("MKCOL", "times")
    for value in ("0", "86400", "86401", "-5", "abc", "1.7", "99999999999", "1700000000"):
        yield f"PUT X-OC-Mtime {value}", ask("PUT", f"times/{value}", "x", X_OC_Mtime=value)
    yield "GET after a refused time", ask("GET", "times/0").body
    ask("PUT", "times/old", "old")
    ask("PUT", "times/old", "new", X_OC_Mtime="5")
    yield "GET after a refused time over old", ask("GET", "times/old").body
    yield "X-OC-CTime", ask("PUT", "times/ctime", "x", X_OC_CTime=1600000000)
    listed = ask("PROPFIND", "times/1700000000", ASKED, Depth=0)
    yield "time as listed", listed.find("<d:getlastmodified>(.*?)<")
    for name in ("lastmodified", "getlastmodified"):
        body = (
            f'<d:propertyupdate xmlns:d="DAV:"><d:set><d:prop><d:{name}>1600000000</d:{name}>'
            "</d:prop></d:set></d:propertyupdate>"
        )
        patched = ask("PROPPATCH", "times/1700000000", body)
        yield f"PROPPATCH {name}", patched.find("<d:status>(.*?)<")


def etags(ask: Client) -> Observations:
    """ETags after different kinds of writes."""
    ask("MKCOL", "etags")
    second = -1
    while int(time.time()) != second:  # again, if a busy machine took longer
        while time.time() % 1 > 0.2:
            time.sleep(0.01)
        second = int(time.time())
        first = ask("PUT", "etags/a", "1").etag
        is_same = ask("PUT", "etags/a", "2").etag == first
    yield "ETag of other bytes in the same second is the same", is_same
    time.sleep(1.1)
    yield "ETag a second later is the same", ask("PUT", "etags/a", "3").etag == first
    first = ask("PUT", "etags/a", "4", X_OC_Mtime=1700000000).etag
    time.sleep(1.1)
    yield (
        "ETag of the same time and size is the same",
        (ask("PUT", "etags/a", "5", X_OC_Mtime=1700000000).etag == first),
    )
    yield (
        "ETag of another size is the same",
        (ask("PUT", "etags/a", "66", X_OC_Mtime=1700000000).etag == first),
    )
    yield (
        "ETag of another time is the same",
        (ask("PUT", "etags/a", "7", X_OC_Mtime=1700000001).etag == first),
    )

    def of_folder() -> list[str]:
        return ask("PROPFIND", "etags", ASKED, Depth=0).find("<d:getetag>(.*?)<")

    before = of_folder()
    ask("PUT", "etags/a", "8", X_OC_Mtime=1700000001)
    yield "a folder's ETag stays when a file in it is written", of_folder() == before


def checksums(ask: Client) -> Observations:
    """OC-Checksum, which Nextcloud does not verify, and X-Recalculate-Hash."""
    ask("MKCOL", "sums")
    false = "SHA1:" + "0" * 40
    yield "PUT with a false checksum", ask("PUT", "sums/a", "hello", OC_Checksum=false)
    yield "its checksum", ask("HEAD", "sums/a").headers.get("OC-Checksum", "").endswith("0000")
    for algorithm in ("sha1", "md5"):
        yield f"PATCH {algorithm}", ask("PATCH", "sums/a", X_Recalculate_Hash=algorithm)
        yield f"checksum after {algorithm}", ask("HEAD", "sums/a").headers.get("OC-Checksum", "")
    yield "PATCH of nothing", ask("PATCH", "sums/a")
    ask("PUT", "sums/a", "hello2")
    yield "checksum after a PUT without one", "OC-Checksum" in ask("HEAD", "sums/a").headers
    ask("PUT", "sums/a", "hello", OC_Checksum="nonsense")
    yield "nonsense as a checksum", ask("HEAD", "sums/a").headers.get("OC-Checksum")


def sha1(content: bytes) -> str:
    """A checksum as clients send it."""
    return "SHA1:" + hashlib.sha1(content, usedforsecurity=False).hexdigest()
