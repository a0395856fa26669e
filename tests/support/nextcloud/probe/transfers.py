"""Chunked and bulk uploads, quota, locks of uploads in progress, races."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable

from support.nextcloud.probe.client import Answer, Client
from support.nextcloud.probe.names_and_writes import Observations, sha1
from support.nextcloud.probe.namespace import SIZES


def uploads(ask: Client) -> Observations:
    """Chunked uploads."""
    ask("MKCOL", "up")
    session, to = f"{ask.uploads}/probe-1", ask.to("up/a")
    whole = session + "/.file"
    yield "MKCOL session", ask("MKCOL", session)
    yield "MKCOL session there", ask("MKCOL", session)
    yield "PUT chunk", ask("PUT", session + "/10", b"b" * 50)
    yield "PUT chunk 9 after 10", ask("PUT", session + "/9", b"a" * 100)
    yield "PUT chunk again", ask("PUT", session + "/9", b"a" * 100)
    listed = ask("PROPFIND", session, SIZES, Depth=1)
    yield "session as listed", sorted(listed.find("<d:href>.*?/probe-1/(.*?)</|length>(.*?)<"))
    yield "MOVE of another length", ask("MOVE", whole, Destination=to, OC_Total_Length=151)
    yield "MOVE without Destination", ask("MOVE", whole)
    yield "MOVE parent missing", ask("MOVE", whole, Destination=ask.to("nope/a"))
    yield "MOVE to a bad name", ask("MOVE", whole, Destination=ask.to("up/x.part"))
    yield "MOVE If-Match wrong", ask("MOVE", whole, Destination=to, If_Match='"x"')
    content = b"a" * 100 + b"b" * 50
    done = ask(
        "MOVE",
        whole,
        Destination=to,
        OC_Total_Length=150,
        X_OC_Mtime=1700000000,
        OC_Checksum=sha1(content),
    )
    yield "MOVE", done
    yield "content", ask("GET", "up/a").body == content
    yield "session afterwards", ask("PROPFIND", session, SIZES, Depth=0)
    yield "PUT without a session", ask("PUT", session + "/1", "x")
    yield "MOVE without a session", ask("MOVE", whole, Destination=to)
    yield "DELETE without a session", ask("DELETE", session)
    yield from _over(ask, session, whole)


def _over(ask: Client, session: str, whole: str) -> Observations:
    """A chunked upload over an old file, tied to it by If."""
    ask("PUT", "up/old", "old")
    to, etag = ask.to("up/old"), ask("HEAD", "up/old").etag
    number = ask("PROPFIND", "up/old", _IDS, Depth=0).find("<oc:fileid>(.*?)<")
    ask("MKCOL", session)
    ask("PUT", session + "/1", "chunk")
    yield "MOVE over, Overwrite: F", ask("MOVE", whole, Destination=to, Overwrite="F")
    yield "MOVE over, If wrong", ask("MOVE", whole, Destination=to, If=f'<{to}> (["x"])')
    away = ask.to("up/new")
    yield "MOVE new, If", ask("MOVE", whole, Destination=away, If=f'<{away}> (["x"])')
    yield "content after refusals", ask("GET", "up/old").body
    yield "MOVE over, If right", ask("MOVE", whole, Destination=to, If=f"<{to}> ([{etag}])")
    yield "content of the chunked upload", ask("GET", "up/old").body
    now = ask("PROPFIND", "up/old", _IDS, Depth=0).find("<oc:fileid>(.*?)<")
    yield "a chunked upload keeps the id", now == number
    ask("MKCOL", session)
    ask("PUT", session + "/1", "late")
    yield "MOVE with a refused time", ask("MOVE", whole, Destination=to, X_OC_Mtime=5)
    yield "content after a refused time", ask("GET", "up/old").body
    yield "DELETE session", ask("DELETE", session)
    to = ask.to("up/v2")
    yield "version 2: MKCOL", ask("MKCOL", session, Destination=to)
    yield (
        "version 2: PUT 1",
        ask("PUT", session + "/1", "chunk1", Destination=to, OC_Total_Length=12),
    )
    yield (
        "version 2: PUT 2",
        ask("PUT", session + "/2", "chunk2", Destination=to, OC_Total_Length=12),
    )
    yield "version 2: GET of a chunk", ask("GET", session + "/2").body
    decimal = session + "/00002.5"
    yield "version 2: MOVE of a chunk", ask("MOVE", session + "/2", Destination=ask.to(decimal))
    yield "version 2: GET of that chunk", ask("GET", decimal).body
    yield "version 2: MOVE", ask("MOVE", whole, Destination=to, OC_Total_Length=12)
    yield "version 2: content", ask("GET", "up/v2").body
    ask("MKCOL", session)
    yield "MOVE of no chunk", ask("MOVE", whole, Destination=ask.to("up/none"))
    yield "content of no chunk", ask("GET", "up/none").body


_IDS = (
    '<d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns"><d:prop><oc:fileid/></d:prop>'
    "</d:propfind>"
)


def bulk(ask: Client) -> Observations:
    """Bulk uploads."""
    ask("MKCOL", "bulk")
    at = "/probe/bulk/"

    def part(name: str, content: bytes, **changes: str | None) -> bytes:
        headers: dict[str, str | None] = {
            "X-File-Path": at + name,
            "Content-Length": str(len(content)),
            "X-OC-Mtime": "1700000000",
            "OC-Checksum": "md5:" + hashlib.md5(content, usedforsecurity=False).hexdigest(),
        }
        headers |= {header.replace("_", "-"): value for header, value in changes.items()}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
        return b"--bb\r\n" + lines.encode() + b"\r\n" + content + b"\r\n"

    def post(*parts: bytes, kind: str = "multipart/related; boundary=bb") -> object:
        body = b"".join(parts) + b"--bb--\r\n"
        answer = ask("POST", "/remote.php/dav/bulk", body, Content_Type=kind)
        if not answer.body.startswith((b"{", b"[")):
            return answer
        told = json.loads(answer.body)
        if not told:
            return answer.status, told
        return answer.status, {
            path.removeprefix(at): "error" if one["error"] else sorted(one)
            for path, one in told.items()
        }

    sha = "sha1:" + hashlib.sha1(b"one", usedforsecurity=False).hexdigest()
    yield (
        "bulk",
        post(
            part("a", b"one"),
            part("nope/b", b"two"),
            part(".htaccess", b"x"),
            part("../c", b"x"),
            part("empty", b""),
            part("old-time", b"x", X_OC_Mtime="5"),
            part("sha", b"one", OC_Checksum=sha),
        ),
    )
    yield "bulk content", ask("GET", "bulk/a")
    broken = post(part("d", b"x"), part("e", b"x", OC_Checksum="md5:" + "0" * 32), part("f", b"x"))
    yield "bulk with a wrong hash", broken
    yield "bulk, before and after it", [ask("HEAD", f"bulk/{name}").status for name in "def"]
    yield "bulk without a hash", post(part("g", b"x", OC_Checksum=None))
    yield "bulk without a length", post(part("h", b"x", Content_Length=None))
    yield "bulk without a time", post(part("i", b"x", X_OC_Mtime=None))
    yield "bulk over an old file", post(part("a", b"again"))
    yield "bulk content afterwards", ask("GET", "bulk/a").body
    yield "bulk onto a folder", post(part("", b"x"))
    yield "bulk of nothing", post()
    yield "bulk of another type", post(part("j", b"x"), kind="text/plain")


def quota(ask: Client) -> Observations:
    """Quota refusals of single and chunked uploads."""
    ask("MKCOL", "quota")
    ask("PUT", "quota/old", "old")
    ask.site.set_quota(4 << 20)
    big = b"x" * (6 << 20)
    try:
        listed = ask("PROPFIND", "quota", _QUOTA, Depth=0).find("bytes>(.*?)<")
        yield "quota is listed", 0 < int(listed[0]) <= 4 << 20
        refused = ask("PUT", "quota/new", big)
        yield "PUT beyond the quota", refused
        pattern = "Insufficient space in .*quota/new, 6291456 required, [0-9]+ available"
        yield "its numbers", bool(refused.find(pattern))
        yield "PUT over beyond the quota", ask("PUT", "quota/old", big)
        yield "the old file", ask("GET", "quota/old").body
        yield "OC-Total-Length", ask("PUT", "quota/x", "x", OC_Total_Length=6 << 20)
        session, to = f"{ask.uploads}/probe-quota", ask.to("quota/chunked")
        ask("MKCOL", session)
        yield "chunk beyond the quota", ask("PUT", session + "/1", big)
        yield "MOVE beyond the quota", ask("MOVE", session + "/.file", Destination=to)
        yield "session afterwards", ask("PROPFIND", session, SIZES, Depth=0).status
        ask("DELETE", session)
        ask("MKCOL", session, Destination=to)
        yield (
            "chunk with Destination",
            ask("PUT", session + "/1", big, Destination=to, OC_Total_Length=len(big)),
        )
        ask("DELETE", session)
    finally:
        ask.site.set_quota(None)


_QUOTA = '<d:propfind xmlns:d="DAV:"><d:prop><d:quota-available-bytes/></d:prop></d:propfind>'


def in_progress(ask: Client) -> Observations:
    """Requests that meet an upload, and uploads that break off, behind a web server that does
    not buffer.
    """
    ask("MKCOL", "slow")
    ask("PUT", "slow/a", "old")
    ask("PUT", "slow/other", "other")
    noted: dict[str, Answer] = {}

    def meet() -> None:
        for method in ("GET", "PUT", "DELETE", "PROPFIND"):
            noted[method] = ask(method, "slow/a", "x" if method == "PUT" else None)
        noted["MOVE onto"] = ask("MOVE", "slow/other", Destination=ask.to("slow/a"))
        noted["MOVE its folder"] = ask("MOVE", "slow", Destination=ask.to("slow2"))
        ask("MOVE", "slow2", Destination=ask.to("slow"))

    yield "slow PUT over", ask.put_slowly("slow/a", 2_000_000, meet)
    for what, answer in noted.items():
        yield f"{what} meanwhile", answer
    noted.clear()

    def meet_new() -> None:
        noted["PUT"] = ask("PUT", "slow/new", "x")
        noted["PUT If-None-Match"] = ask("PUT", "slow/new", "x", If_None_Match="*")
        noted["GET"] = ask("GET", "slow/new")

    yield "slow PUT new", ask.put_slowly("slow/new", 2_000_000, meet_new)
    for what, answer in noted.items():
        yield f"{what} meanwhile, new", answer

    def nothing() -> None:
        pass

    ask("PUT", "slow/cut", "old")
    ask.put_slowly("slow/cut", 2_000_000, nothing, cut=True)
    ask.put_slowly("slow/cut-new", 2_000_000, nothing, cut=True)
    yield (
        "a cut-off PUT over old, listed",
        (ask("PROPFIND", "slow/cut", SIZES, Depth=0).find("length>(.*?)<")),
    )
    yield "a cut-off PUT over old, read", ask("GET", "slow/cut").body[:3]
    yield (
        "listed after that",
        (ask("PROPFIND", "slow/cut", SIZES, Depth=0).find("length>(.*?)<") != ["3"]),
    )
    yield "a cut-off PUT, new", ask("GET", "slow/cut-new").status
    yield "chunked PUT", ask.put_slowly("slow/chunked", 20_000, nothing, chunked=True)
    yield "bytes of a chunked PUT", len(ask("GET", "slow/chunked").body)


def races(ask: Client) -> Observations:
    """Sixteen requests at once: the outcomes that are certain. A real server may also refuse
    a PUT by 403 without a message while the file is being created; the stand-in does not.
    """
    ask("MKCOL", "race")

    def all_at_once(do: Callable[[int], Answer]) -> Counter[int]:
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda n=number: statuses.append(do(n).status))
            for number in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return Counter(statuses)

    made = all_at_once(lambda _: ask("MKCOL", "race/d"))
    yield "16 MKCOL: made", made[201]
    yield "16 MKCOL: else only 405 and 423", set(made) <= {201, 405, 423}
    new = all_at_once(lambda n: ask("PUT", "race/n", str(n) * 1000, If_None_Match="*"))
    yield "16 PUT If-None-Match: made", new[201]
    yield "16 PUT If-None-Match: else refused", set(new) <= {201, 403, 412, 423}
    put = all_at_once(lambda n: ask("PUT", "race/p", str(n) * 1000))
    yield "16 PUT: made, written over, or refused", set(put) <= {201, 204, 403, 423}
    yield "16 PUT: not mixed", len(set(ask("GET", "race/p").body)) <= 2
    gone = all_at_once(lambda _: ask("DELETE", "race/p"))
    yield "16 DELETE: done, gone, or locked", set(gone) <= {204, 404, 423}
