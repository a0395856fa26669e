"""Questions about uploads by tus, see `probe`."""

from __future__ import annotations

import base64
import http.client
import socket
import struct
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from support.opencloud.probe import Client

_HOME = "/remote.php/dav/files"
_SHOWN = ("upload-offset", "upload-length", "tus-extension")
_SIZE = 300_000


class TusClient:
    """A client that uploads by tus with the credential of another one."""

    def __init__(self, client: Client) -> None:
        self.host = urlsplit(client.url).netloc
        self.folder = f"{_HOME}/{client.user}/{client.folder}"
        self.authorization = client.authorization or ""
        self.address = ""

    def ask(self, method: str, target: str, body: bytes | None = None, **headers: str) -> str:
        """The status of an answer, and what it says of tus."""
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request(method, target, body, {"Tus-Resumable": "1.0.0", **sent})
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
        told = [str(answer.status)]
        if method in ("HEAD", "OPTIONS", "PATCH"):
            told += [f"{name}: {answer.headers[name]}" for name in _SHOWN if name in answer.headers]
        told += [name for name in ("upload-expires", "location") if name in answer.headers]
        location = answer.headers.get("location")
        if location:
            self.address = urlsplit(location).path
        return " | ".join(told)

    def create(self, name: str, size: int = _SIZE, folder: str = "", **headers: str) -> str:
        """Begin an upload, to which `address` leads then."""
        metadata = f"filename {base64.b64encode(name.encode()).decode()}"
        headers |= {"Upload_Length": str(size), "Upload_Metadata": metadata}
        target = f"{self.folder}/{folder}"
        return self.ask("POST", target, b"", Authorization=self.authorization, **headers)

    def send(self, at: int, body: bytes, **headers: str) -> str:
        """Send a part."""
        headers |= {"Upload_Offset": str(at), "Content_Type": "application/offset+octet-stream"}
        return self.ask("PATCH", self.address, body, **headers)

    def at(self) -> str:
        """Ask what the server has."""
        return self.ask("HEAD", self.address)

    def cut_off(self, size: int) -> str:
        """Send so much of a part and hang up; then ask what the server has."""
        host, _, port = self.host.partition(":")
        with socket.create_connection((host, int(port))) as connection:
            head = (
                f"PATCH {self.address} HTTP/1.1\r\nHost: {self.host}\r\nTus-Resumable: 1.0.0\r\n"
                "Upload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\n"
                f"Content-Length: {_SIZE}\r\n\r\n"
            )
            connection.sendall(head.encode() + bytes(size))
            time.sleep(0.5)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        time.sleep(0.5)
        return self.at()


def uploads(client: Client) -> dict[str, str]:
    """What OPTIONS offers, and uploads that go well, are cut off, and are refused."""
    tus, put = TusClient(client), client.put
    part = bytes(100_000)
    wrong = f"sha1 {base64.b64encode(b'x' * 20).decode()}"
    return {
        "MKCOL": client.ask("MKCOL", ""),
        "OPTIONS": tus.ask("OPTIONS", f"{tus.folder}/"),
        "POST": tus.create("whole"),
        "HEAD": tus.at(),
        "OPTIONS of an upload": tus.ask("OPTIONS", tus.address),
        "PATCH": tus.send(0, part),
        "PATCH at a wrong offset": tus.send(5, part),
        "PATCH with a wrong checksum": tus.send(100_000, part, Upload_Checksum=wrong),
        "PATCH that is too long": tus.send(200_000, part * 2),
        "HEAD after that": tus.at(),
        "the file before the end": client.ask("HEAD", "whole"),
        "PATCH of the end": tus.send(200_000, part),
        "HEAD after the end": tus.at(),
        "the file": client.listed("whole", b"getcontentlength oc:checksums"),
        "another POST": tus.create("cut"),
        "HEAD after a PATCH that was cut off": tus.cut_off(150_000),
        "DELETE": tus.ask("DELETE", tus.address),
        "HEAD after DELETE": tus.at(),
        "PATCH after DELETE": tus.send(0, part),
        "POST with a wrong If-Match": tus.create("whole", If_Match='"x"'),
        "POST without a parent": tus.create("x", folder="none/"),
        "POST of a backslash": tus.create("a\\b"),
        "POST over a folder": client.ask("MKCOL", "folder") + " | " + tus.create("folder"),
        "POST of a new file": tus.create("new", 10),
        "the new file by another client": put("new", b"other"),
        "the end of the new file": tus.send(0, b"0123456789"),
        "HEAD of what was refused": tus.at(),
        "DELETE of what was refused": tus.ask("DELETE", tus.address),
        "the other client's file": client.listed("new", b"getcontentlength"),
        "POST with If-None-Match of a file": tus.create("new", 10, If_None_Match="*"),
        "the end of that": tus.send(0, b"0123456789"),
        "the file that was replaced": client.listed("new", b"getcontentlength"),
        "POST over an old file": tus.create("new", 11),
        "the old file by another client": put("new", b"another's"),
        "the end over the old file": tus.send(0, b"01234567890"),
        "the file of both": client.listed("new", b"getcontentlength"),
        "an address that is none": tus.ask("HEAD", "/data/none"),
        "at last": client.ask("DELETE", ""),
    }
