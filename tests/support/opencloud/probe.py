"""Questions to an OpenCloud, real or not, and its answers in a form that can be compared.

An answer is a line: its status, the exception and message of its body, and the headers that
clients read. Names that differ from run to run are replaced.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import secrets
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from support.opencloud import tus_probe

HOME: Final = "/remote.php/dav/files/{user}"
_SHOWN: Final = ("x-oc-mtime", "content-range", "www-authenticate")
_TAGS: Final = ("etag", "oc-etag")
_BODY: Final = re.compile(r"<s:(exception|message|Exception|Message)>([^<]*)<")
_QUOTA: Final = b"quota-available-bytes quota-used-bytes"
_OTHER_SPACE: Final = "12345678-1234-1234-1234-123456789012$12345678-1234-1234-1234-123456789012"


@dataclass
class Client:
    """A client with one credential at one server."""

    url: str
    user: str
    authorization: str | None
    folder: str = field(default_factory=lambda: f"probe-{secrets.token_hex(4)}")

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> str:
        """The answer to a request for a path below the probe's folder, or for an absolute one."""
        if not path.startswith("/"):
            path = f"{HOME.format(user=self.user)}/{self.folder}/{path}".rstrip("/")
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        if "Destination" in sent:
            home = HOME.format(user=self.user)
            sent["Destination"] = f"{self.url}{home}/{self.folder}/{sent['Destination']}"
        if self.authorization is not None:
            sent["Authorization"] = self.authorization
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return self._line(answer, answer.read().decode("utf-8", "replace"))
        finally:
            connection.close()

    def put(self, path: str, body: bytes, mtime: int | None = None, **headers: str) -> str:
        """PUT a file."""
        if mtime is not None:
            headers["X_OC_Mtime"] = str(mtime)
        return self.ask("PUT", path, body, **headers)

    def listed(self, path: str, names: bytes, depth: str = "0") -> str:
        """PROPFIND of some properties; those of ownCloud begin with `oc:`."""
        asked = b"".join(
            b"<%b/>" % (name if b":" in name else b"d:" + name) for name in names.split()
        )
        body = (
            b'<?xml version="1.0"?><d:propfind xmlns:d="DAV:" '
            b'xmlns:oc="http://owncloud.org/ns"><d:prop>' + asked + b"</d:prop></d:propfind>"
        )
        return self.ask("PROPFIND", path, body, Depth=depth)

    def _line(self, answer: http.client.HTTPResponse, body: str) -> str:
        told = [str(answer.status)]
        if "<d:multistatus" in body:
            told += re.findall(r"<d:response>.*?</d:response>", body, re.DOTALL)
        elif found := _BODY.findall(body):
            told += [text for _, text in found if text]
        elif body and answer.status >= 300:
            told.append(body)
        for name in _SHOWN:
            for text in sorted(answer.headers.get_all(name) or ()):
                told.append(f"{name}: {text}")
        told += [name for name in _TAGS if answer.headers.get(name)]
        line = " | ".join(told).replace(self.folder, "FOLDER").replace(self.user, "USER")
        line = re.sub(r"127\.0\.0\.1:[0-9]+", "HOST", line)
        line = re.sub(r'(&#34;|&quot;|")[0-9a-f]{32}\1', "ETAG", line)
        return re.sub(r"symlink .* (?=.*: not a directory)", "symlink ", line)


def _sha1(content: bytes) -> str:
    return "SHA1:" + hashlib.sha1(content, usedforsecurity=False).hexdigest()


def writes(client: Client) -> dict[str, str]:
    """PUT, MKCOL and what is refused."""
    put, ask = client.put, client.ask
    at = 1_700_000_000
    return {
        "MKCOL": ask("MKCOL", ""),
        "MKCOL of a folder that is there": ask("MKCOL", ""),
        "MKCOL without a parent": ask("MKCOL", "x/y"),
        "PUT": put("f", b"abc", at),
        "PUT over it, with its SHA-1": put("f", b"hello2", at + 1, OC_Checksum=_sha1(b"hello2")),
        "PUT without a time": put("now", b"abc"),
        "PUT of nothing": put("empty", b"", at),
        "PUT with a wrong SHA-1": put("h", b"hello2", OC_Checksum=_sha1(b"x")),
        "PUT with an unknown algorithm": put("h", b"hello2", OC_Checksum="SHA256:ab"),
        "what was refused": ask("HEAD", "h"),
        "PUT with a lower-case algorithm": put("l", b"x", OC_Checksum=_sha1(b"x").lower()),
        "PUT without a parent": put("n/h", b"x"),
        "PUT onto a folder": put("", b"x"),
        "PUT with a wrong If-Match": put("f", b"x", If_Match='"x"'),
        "PUT with If-Match of nothing": put("none", b"x", If_Match='"x"'),
        "PUT with If-None-Match of nothing": put("new", b"x", If_None_Match="*"),
        "PUT with If-None-Match of a file": put("new", b"xy", If_None_Match="*"),
        "PUT of a backslash": put("a%5Cb", b"x"),
        "PUT below a backslash": put("a%5Cb/c", b"x"),
        "MKCOL of a backslash": ask("MKCOL", "a%5Cb"),
        "PUT of a line feed": put("a%0Ab", b"x"),
        "PUT of a long name": put("a" * 256, b"x"),
        "MKCOL onto a file": ask("MKCOL", "f"),
        "PUT below a file": put("f/z", b"x"),
        "PUT of a time that is none": put("odd", b"x", X_OC_Mtime="abc"),
        "first PUT of one time": put("again", b"0", at),
        "second PUT of one time": put("again", b"1", at),
        "third PUT of one time": put("again", b"2", at),
        "fourth PUT, of another time": put("again", b"3", at + 5),
        "PATCH": ask("PATCH", "f"),
    }


def fractions(client: Client) -> dict[str, str]:
    """PUT over a file with times of the same second."""

    def put(fraction: str) -> str:
        return client.put("second", b"x", X_OC_Mtime=f"1700000000{fraction}")

    time = b"getlastmodified getcontentlength"
    return {
        "MKCOL": client.ask("MKCOL", ""),
        "PUT": put(""),
        "PUT of .5": put(".5"),
        "PUT of .000002": put(".000002000"),
        "PUT of .999999999": put(".999999999"),
        "time": client.listed("second", time),
        "PUT of .25": put(".25"),
        "a new file of .75": client.put("new", b"x", X_OC_Mtime="1700000000.75"),
        "DELETE": client.ask("DELETE", ""),
    }


def reads(client: Client) -> dict[str, str]:
    """HEAD, GET and PROPFIND, of the files that `writes` left."""
    ask, listed = client.ask, client.listed
    return {
        "HEAD": ask("HEAD", "f"),
        "GET": ask("GET", "f"),
        "GET of a range": ask("GET", "f", Range="bytes=1-2"),
        "GET of a range, with another If-Range": ask("GET", "f", Range="bytes=0-1", If_Range='"x"'),
        "GET beyond the end": ask("GET", "f", Range="bytes=100-"),
        "GET of nothing": ask("GET", "none"),
        "HEAD of nothing": ask("HEAD", "none"),
        "GET of a folder": ask("GET", ""),
        "size and type": listed("f", b"getcontentlength resourcetype getlastmodified getetag"),
        "checksums": listed("f", b"oc:checksums nothing"),
        "checksums of an empty file": listed("empty", b"oc:checksums getcontentlength"),
        "permissions": listed("f", b"oc:permissions"),
        "a folder": listed("", b"resourcetype getcontentlength oc:permissions"),
        "quota": listed("/remote.php/dav/files/" + client.user, b"quota-available-bytes"),
        "quota of a file": listed("f", _QUOTA),
        "PROPFIND of nothing": listed("none", b"getetag"),
        "PROPFIND below a file": listed("f/z", b"getetag"),
        "PROPFIND 1 of a file": listed("f", b"resourcetype", "1"),
        "PROPFIND infinity": listed("", b"getetag", "infinity"),
        "PROPFIND of a space": listed("/dav/spaces/" + _OTHER_SPACE, b"getetag"),
        "PROPFIND of a user": listed("/dav/files/nobody", b"getetag"),
        "MKCOL in a space": ask("MKCOL", f"/dav/spaces/{_OTHER_SPACE}/x"),
        "MKCOL of a user": ask("MKCOL", "/dav/files/nobody/x"),
        "PUT in a space": ask("PUT", f"/dav/spaces/{_OTHER_SPACE}/x", b"x"),
        "PUT of a user": ask("PUT", "/dav/files/nobody/x", b"x"),
        "GET of a user": ask("GET", "/dav/files/nobody/x"),
        "own files": listed("/remote.php/webdav/", b"resourcetype oc:permissions"),
        "own files by name": listed(f"/dav/files/{client.user}/", b"resourcetype oc:permissions"),
        "the root of all": listed("/dav/", b"getetag"),
        "no WebDAV": ask("PROPFIND", "/remote.php/nothing/", Depth="0"),
    }


def moves(client: Client) -> dict[str, str]:
    """MOVE, COPY, PROPPATCH and DELETE."""
    ask = client.ask
    client.put("g", b"g", 1_700_000_000)
    when = (
        b'<?xml version="1.0"?><d:propertyupdate xmlns:d="DAV:"><d:set><d:prop>'
        b"<d:lastmodified>1700000099</d:lastmodified></d:prop></d:set></d:propertyupdate>"
    )
    return {
        "MOVE": ask("MOVE", "g", Destination="g2", Overwrite="F"),
        "MOVE over a file, F": ask("MOVE", "g2", Destination="f", Overwrite="F"),
        "MOVE over a file, T": ask("MOVE", "g2", Destination="f", Overwrite="T"),
        "MOVE without a parent": ask("MOVE", "f", Destination="no/f", Overwrite="T"),
        "MOVE of nothing": ask("MOVE", "zz", Destination="z2", Overwrite="T"),
        "COPY": ask("COPY", "f", Destination="fc", Overwrite="T"),
        "COPY over a file, F": ask("COPY", "f", Destination="fc", Overwrite="F"),
        "COPY over a file, T": ask("COPY", "f", Destination="fc", Overwrite="T"),
        "PROPPATCH of a time": ask("PROPPATCH", "f", when),
        "its time after that": client.listed("f", b"getlastmodified"),
        "DELETE of nothing": ask("DELETE", "none"),
        "DELETE with a wrong If-Match": ask("DELETE", "fc", If_Match='"x"'),
        "DELETE": ask("DELETE", ""),
    }


def sign_in(client: Client, bad: list[str | None]) -> dict[str, str]:
    """Credentials that do not hold."""
    told = {}
    for number, authorization in enumerate(bad):
        other = Client(client.url, client.user, authorization)
        told[f"PROPFIND {number}"] = other.ask("PROPFIND", "", Depth="0")
        told[f"PUT {number}"] = other.put("f", b"x")
    return told


def quota(client: Client) -> dict[str, str]:
    """An account that may hold 5,000 bytes, and is empty."""
    home = HOME.format(user=client.user)
    return {
        "empty": client.listed(home, _QUOTA),
        "PUT of 2,000": client.ask("PUT", f"{home}/a", b"x" * 2000),
        "then": client.listed(home, _QUOTA),
        "PUT of 4,000": client.ask("PUT", f"{home}/b", b"x" * 4000),
        "PUT of 4,000 over 2,000": client.ask("PUT", f"{home}/a", b"x" * 4000),
        "PUT of 5,001 over 4,000": client.ask("PUT", f"{home}/a", b"x" * 5001),
        "MKCOL": client.ask("MKCOL", f"{home}/sub"),
        "a folder": client.listed(f"{home}/sub", _QUOTA),
        "at last": client.listed(home, _QUOTA),
    }


def ask_all(client: Client, bad: list[str | None], poor: Client) -> dict[str, dict[str, str]]:
    """All questions in their order; `poor` has the account for `quota`."""
    return {
        "writes": writes(client),
        "reads": reads(client),
        "moves": moves(client),
        "sign_in": sign_in(client, bad),
        "quota": quota(poor),
        "fractions": fractions(client),
        "tus": tus_probe.uploads(client),
    }
