"""MKCOL, MOVE, COPY, DELETE, PROPFIND, GET, and addresses."""

from __future__ import annotations

import io
import zipfile
from urllib.parse import quote

from support.nextcloud.probe.client import Client
from support.nextcloud.probe.names_and_writes import ASKED, Observations, sha1

SIZES = '<d:propfind xmlns:d="DAV:"><d:prop><d:getcontentlength/></d:prop></d:propfind>'


def folders(ask: Client) -> Observations:
    """MKCOL and DELETE."""
    yield "MKCOL", ask("MKCOL", "dir")
    yield "MKCOL there", ask("MKCOL", "dir")
    yield "MKCOL there, with a slash", ask("MKCOL", f"{ask.files}/probe/dir/")
    missing = ask("MKCOL", "nope/x")
    yield "MKCOL parent missing", missing
    yield "its message", missing.find("<s:message>(.*?)<")
    ask("PUT", "dir/f", "x")
    yield "MKCOL onto a file", ask("MKCOL", "dir/f")
    below = ask("MKCOL", "dir/f/x")
    yield "MKCOL below a file", below
    yield "its message, below a file", below.find("<s:message>(.*?)<")
    yield "MKCOL with a body", ask("MKCOL", "dir/m", "x", Content_Type="text/plain")
    yield "DELETE If-Match wrong", ask("DELETE", "dir/f", If_Match='"x"')
    yield "DELETE", ask("DELETE", "dir/f")
    yield "DELETE gone", ask("DELETE", "dir/f")
    yield "DELETE folder", ask("DELETE", "dir")
    yield "DELETE home", ask("DELETE", f"{ask.files}/")


def moves(ask: Client) -> Observations:
    """MOVE and COPY."""
    ask("MKCOL", "mv")
    ask("MKCOL", "mv/d")
    ask("MKCOL", "mv/d/e")
    ask("PUT", "mv/a", "aaa", OC_Checksum=sha1(b"aaa"))
    ask("PUT", "mv/b", "bbb")

    def ids() -> list[str]:
        listed = ask("PROPFIND", "mv/b", ASKED.replace("d:nothing", "oc:fileid"), Depth=0)
        return listed.find("<oc:fileid>(.*?)<|<d:getetag>(.*?)<|<oc:checksum>(.*?)<")

    of_a = ask("PROPFIND", "mv/a", ASKED.replace("d:nothing", "oc:fileid"), Depth=0).find(
        "<oc:fileid>(.*?)<|<d:getetag>(.*?)<|<oc:checksum>(.*?)<"
    )
    to = ask.to
    yield "MOVE Overwrite: F", ask("MOVE", "mv/a", Destination=to("mv/b"), Overwrite="F")
    yield "MOVE over a file", ask("MOVE", "mv/a", Destination=to("mv/b"))
    yield "what was moved keeps id, ETag and checksum", sorted(ids()) == sorted(of_a)
    yield "MOVE to a new name", ask("MOVE", "mv/b", Destination=to("mv/a"))
    yield "MOVE parent missing", ask("MOVE", "mv/a", Destination=to("nope/a"))
    yield "MOVE onto itself", ask("MOVE", "mv/a", Destination=to("mv/a"))
    yield "MOVE below a file", ask("MOVE", "mv/d", Destination=to("mv/a/x"))
    yield "MOVE into itself", ask("MOVE", "mv/d", Destination=to("mv/d/e/f"))
    yield "MOVE gone", ask("MOVE", "mv/nope", Destination=to("mv/z"))
    yield "MOVE without Destination", ask("MOVE", "mv/a")
    yield "MOVE to a bad name", ask("MOVE", "mv/a", Destination=to("mv/.htaccess"))
    elsewhere = "http://other.example" + ask.at("mv/host")
    yield "MOVE to another host", ask("MOVE", "mv/a", Destination=elsewhere)
    yield "MOVE out", ask("MOVE", "mv/host", Destination=ask.site.url + "/elsewhere")
    yield "MOVE If-Match wrong", ask("MOVE", "mv/host", Destination=to("mv/q"), If_Match='"x"')
    yield "COPY", ask("COPY", "mv/host", Destination=to("mv/c"))
    copied = ask("HEAD", "mv/c")
    yield "a copy has the ETag", copied.etag == ask("HEAD", "mv/host").etag
    yield "a copy has a checksum", "OC-Checksum" in copied.headers
    yield "COPY Overwrite: F", ask("COPY", "mv/host", Destination=to("mv/c"), Overwrite="F")
    yield "COPY over", ask("COPY", "mv/host", Destination=to("mv/c"))
    yield "COPY folder", ask("COPY", "mv/d", Destination=to("mv/d2"))
    yield "MOVE over a folder", ask("MOVE", "mv/c", Destination=to("mv/d2"))
    listed = ask("PROPFIND", "mv", SIZES, Depth="infinity")
    yield "what is there", sorted(listed.find("<d:href>.*?/probe/(.*?)</"))


def propfinds(ask: Client) -> Observations:
    """Properties of files and folders in a multistatus."""
    ask("MKCOL", "pf")
    ask("MKCOL", "pf/sub")
    ask("PUT", "pf/f.txt", "hello", OC_Checksum=sha1(b"hello"))
    for name in ("pf", "pf/f.txt"):
        for how in ({}, {"Prefer": "return=minimal"}, {"Brief": "t"}):
            listed = ask("PROPFIND", name, ASKED, Depth=0, **how)
            found = [
                (status, sorted(set(_tags(properties))))
                for properties, status in listed.find_pairs()
            ]
            yield f"PROPFIND {name} {how}", found
        yield (
            f"PROPFIND {name} without a body",
            [
                (status, sorted(set(_tags(properties))))
                for properties, status in ask("PROPFIND", name, Depth=0).find_pairs()
            ],
        )
    for depth in ("0", "1", "infinity"):
        listed = ask("PROPFIND", "", SIZES, Depth=depth)
        yield (
            f"depth {depth} goes down to",
            max(href.rstrip("/").count("/") for href in listed.find("<d:href>(.*?)</")),
        )
    yield "PROPFIND gone", ask("PROPFIND", "pf/nope", ASKED, Depth=0)
    yield "PROPFIND of broken XML", ask("PROPFIND", "pf", "<d:propfind", Depth=0)
    sizes = ask("PROPFIND", "pf", ASKED, Depth=0).find("<oc:size>(.*?)<")
    yield "a folder's size is that of its files", sizes
    yield "permissions", ask("PROPFIND", "pf", ASKED, Depth=1).find("<oc:permissions>(.*?)<")


def _tags(properties: str) -> list[str]:
    import re

    return re.findall(r"<(\w+:[\w-]+)", properties)


def gets(ask: Client) -> Observations:
    """GET, HEAD, ranges, and folders as a zip."""
    ask("MKCOL", "get")
    ask("MKCOL", "get/sub")
    ask("PUT", "get/a.txt", "hello", OC_Checksum=sha1(b"hello"), X_OC_Mtime=1700000000)
    ask("PUT", "get/sub/b", "b", X_OC_Mtime=1700000001)
    whole = ask("GET", "get/a.txt")
    yield "GET", whole
    yield "HEAD", ask("HEAD", "get/a.txt")
    yield "GET If-None-Match", ask("GET", "get/a.txt", If_None_Match=whole.etag)
    for wanted in ("bytes=1-2", "bytes=1-", "bytes=-2", "bytes=9-", "bytes=0-99"):
        part = ask("GET", "get/a.txt", Range=wanted)
        yield f"GET {wanted}", (str(part), part.body if part.status == 206 else b"")
    stale = ask("GET", "get/a.txt", Range="bytes=1-2", If_Range='"x"')
    yield "GET If-Range of another", (stale.status, stale.body)
    yield "GET gone", ask("GET", "get/nope")
    folder = ask("GET", "get")
    yield "GET folder", (folder.status, folder.body)
    for query in ("?accept=zip", "?accept=zip&files=" + quote('["a.txt","sub"]')):
        archive = ask("GET", ask.at("get") + query)
        with zipfile.ZipFile(io.BytesIO(archive.body)) as read:
            yield (
                f"zip {query}",
                [
                    (one.filename, one.file_size, one.compress_type, one.flag_bits, one.CRC)
                    for one in read.infolist()
                ],
            )
            yield (
                f"times in zip {query}",
                [one.date_time for one in read.infolist() if not one.is_dir()],
            )
    missing = ask.at("get") + "?accept=zip&files=" + quote('["a.txt","nope"]')
    yield "zip of a missing name", ask("GET", missing)
    for method in ("LOCK", "POST", "FOO"):
        yield method, ask(method, "get/a.txt", "x")


def addresses(ask: Client) -> Observations:
    """Other URLs of the same server."""
    paths = {
        "webdav": "/remote.php/webdav/",
        "dav": "/remote.php/dav/",
        "files": "/remote.php/dav/files/",
        "another account": f"/remote.php/dav/files/{ask.site.other_user}/",
        "nobody": "/remote.php/dav/files/nobody-of-that-name/",
        "other case": f"/remote.php/dav/files/{ask.site.user.upper()}/",
        "uploads": ask.uploads + "/",
        "page": "/index.php/apps/files",
    }
    for name, path in paths.items():
        yield f"PROPFIND {name}", ask("PROPFIND", path, ASKED, Depth=0)
    for name in ("another account", "nobody"):
        yield f"MKCOL in {name}", ask("MKCOL", paths[name] + "x")
    yield "PUT in another account", ask("PUT", paths["another account"] + "x", "x")
    yield "PUT by webdav", ask("PUT", "/remote.php/webdav/probe/by-webdav", "x")
    yield "GET what was put by webdav", ask("GET", "by-webdav").body
    visitor = Client(ask.site, password="")
    for path in ("/", "/login", "/index.php/apps/files/"):
        answer = visitor("GET", path)
        yield f"page {path}", answer.status
    yield "status.php", ask("GET", "/status.php").find('"maintenance": ?(true|false)')
