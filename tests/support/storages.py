"""Real storages on loopback, each on a port that the kernel chose, for tests and the demo.

Every server is a context manager that gives a `Storage`: how a request names it, and a
way to look at its content that does not go through rclone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import re
import secrets
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

import requests

ROOT = Path(__file__).parents[2]
USER = "alice"
CLOSED_PORT: Final = 1
"""Nothing listens there; at a port that was free a moment ago, another test may."""


def password() -> str:
    """A password that occurs nowhere else, so that a leak of it can be found."""
    return f"canary-{secrets.token_hex(12)}"


@dataclass
class Storage:
    """A running storage. `base` is a path in it that belongs to this test alone."""

    type: str
    parameters: dict[str, Any]
    write: Callable[[str, bytes], None]
    hashes: Callable[[str], dict[str, str]]
    base: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    def endpoint(self, path: str = "", **changes: Any) -> dict[str, Any]:
        """As a request names it."""
        joined = f"{self.base}/{path}" if self.base and path else self.base or path
        return {"type": self.type, "parameters": {**self.parameters, **changes}, "path": joined}

    def fill(self, folder: str, files: dict[str, bytes]) -> dict[str, str]:
        """Write files below a folder; their hashes, as `hashes` would give them."""
        for path, content in files.items():
            self.write(f"{folder}/{path}" if folder else path, content)
        return {path: digest(content) for path, content in files.items()}


def digest(content: bytes) -> str:
    """How contents are compared."""
    return hashlib.sha256(content).hexdigest()


def on_disk(
    kind: str, folder: Path, parameters: dict[str, Any], written: Callable[[], None] = lambda: None
) -> Storage:
    """A storage whose content is a folder on this machine."""

    def write(path: str, content: bytes) -> None:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        written()

    def hashes(path: str) -> dict[str, str]:
        return hash_tree(folder / path)

    return Storage(kind, parameters, write, hashes, details={"folder": folder})


def hash_tree(root: Path) -> dict[str, str]:
    """The hash of every file below a folder (or of the one file), by relative path."""
    if root.is_file():
        return {root.name: digest(root.read_bytes())}
    return {
        str(file.relative_to(root)): digest(file.read_bytes())
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }


@contextmanager
def serving(serve: Callable[[], None], stop: Callable[[], None]) -> Iterator[None]:
    """Run a server's loop in a thread for the length of the block."""
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(10)


@contextmanager
def wsgidav(folder: Path) -> Iterator[Storage]:
    """WsgiDAV, a WebDAV server in Python."""
    from cheroot import wsgi
    from wsgidav.fs_dav_provider import FileResource, FilesystemProvider
    from wsgidav.wsgidav_app import WsgiDAVApp

    class ClosingResource(FileResource):  # type: ignore[misc]  # WsgiDAV has no types
        """A file that is closed, too, when its upload is cut off.

        WsgiDAV leaves it to the garbage collector, whose warning then fails any later test.
        """

        def begin_write(self, *, content_type: str | None = None) -> Any:
            self.written = super().begin_write(content_type=content_type)
            return self.written

        def end_write(self, *, with_errors: bool) -> None:
            self.written.close()

    class ClosingProvider(FilesystemProvider):  # type: ignore[misc]  # WsgiDAV has no types
        """A folder of such files."""

        def get_resource_inst(self, path: str, environ: dict[str, Any]) -> Any:
            found = super().get_resource_inst(path, environ)
            is_file = isinstance(found, FileResource)
            return ClosingResource(path, environ, found._file_path) if is_file else found

    logging.getLogger("wsgidav").setLevel(logging.CRITICAL)
    secret = password()
    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": ClosingProvider(str(folder))},
            "simple_dc": {"user_mapping": {"*": {USER: {"password": secret}}}},
            "http_authenticator": {"accept_basic": True, "accept_digest": False},
            "logging": {"enable": False},
            "verbose": 0,
            "lock_storage": False,
        }
    )
    # With its usual queue of five, the kernel drops connections, which try again seconds later.
    server = wsgi.Server(("127.0.0.1", 0), app, numthreads=64, request_queue_size=128)
    server.prepare()
    with serving(server.serve, server.stop):
        yield on_disk(
            "webdav",
            folder,
            {
                "url": f"http://127.0.0.1:{server.bind_addr[1]}",
                "vendor": "other",
                "user": USER,
                "pass": secret,
            },
        )


@contextmanager
def rclone_webdav(folder: Path, binary: Path) -> Iterator[Storage]:
    """`rclone serve webdav`."""
    secret = password()
    with subprocess.Popen(
        [
            binary,
            "serve",
            "webdav",
            folder,
            "--addr",
            "127.0.0.1:0",
            "--config",
            "",
            "-v",
        ],
        stderr=subprocess.PIPE,
        env={"RCLONE_USER": USER, "RCLONE_PASS": secret, "HOME": str(folder)},
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                    break
            else:
                raise AssertionError("rclone serve did not start")
            threading.Thread(target=process.stderr.read, daemon=True).start()
            yield on_disk(
                "webdav",
                folder,
                {
                    "url": f"http://127.0.0.1:{found[1]}",
                    "vendor": "rclone",
                    "user": USER,
                    "pass": secret,
                },
                # It remembers folders; this signal makes it look again.
                written=lambda: process.send_signal(signal.SIGHUP),
            )
        finally:
            process.kill()


@contextmanager
def s3() -> Iterator[Storage]:
    """moto's S3 server; a bucket named `bucket` is there."""
    import boto3
    from botocore.config import Config
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    keys = {"access_key_id": f"AK{password()}", "secret_access_key": password()}
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=keys["access_key_id"],
        aws_secret_access_key=keys["secret_access_key"],
        config=Config(s3={"addressing_style": "path"}, proxies={}),
    )
    client.create_bucket(Bucket="bucket")

    def write(path: str, content: bytes) -> None:
        bucket, _, key = path.partition("/")
        client.put_object(Bucket=bucket, Key=key, Body=content)

    def hashes(path: str) -> dict[str, str]:
        bucket, _, prefix = path.partition("/")
        prefix = prefix and prefix + "/"
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return {
            key.removeprefix(prefix): digest(
                client.get_object(Bucket=bucket, Key=key)["Body"].read()
            )
            for key in keys
        }

    parameters = {"provider": "Other", "endpoint": endpoint, "region": "us-east-1", **keys}
    try:
        yield Storage(
            "s3", parameters, write, hashes, "bucket", {"client": client, "url": endpoint}
        )
    finally:
        client.close()
        server.stop()


@contextmanager
def sftp(folder: Path, files: Callable[..., Any] | None = None) -> Iterator[Storage]:
    """AsyncSSH's SFTP server. `files` makes its file operations, of a channel and `chroot`."""
    import asyncssh

    secret = password()

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == (USER, secret)

    def factory(channel: Any) -> Any:
        return (files or asyncssh.SFTPServer)(channel, chroot=os.fsencode(folder))

    logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    key = asyncssh.generate_private_key("ssh-ed25519")

    async def listen() -> Any:
        return await asyncssh.create_server(
            Server, "127.0.0.1", 0, server_host_keys=[key], sftp_factory=factory
        )

    server = loop.run_until_complete(listen())

    def stop() -> None:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)

    storage = on_disk(
        "sftp",
        folder,
        {
            "host": "127.0.0.1",
            "port": server.sockets[0].getsockname()[1],
            "user": USER,
            "pass": secret,
            "disable_hashcheck": True,
        },
    )
    storage.details["host_key"] = key.export_public_key().decode().strip()
    with serving(loop.run_forever, stop):
        yield storage
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


@contextmanager
def ftp(
    folder: Path, files: type[Any] | None = None, *, without: tuple[str, ...] = ()
) -> Iterator[Storage]:
    """pyftpdlib's FTP server, `without` some commands. `files` is its class of file operations."""
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.ioloop import IOLoop
    from pyftpdlib.servers import ThreadedFTPServer

    logging.getLogger("pyftpdlib").setLevel(logging.CRITICAL)
    secret = password()
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, secret, str(folder), perm="elradfmwMT")

    class Handler(FTPHandler):  # type: ignore[misc]
        abstracted_fs = files or FTPHandler.abstracted_fs

    known = FTPHandler.proto_cmds.items()
    Handler.proto_cmds = {name: it for name, it in known if name not in without}
    Handler.authorizer = authorizer
    Handler.auth_failed_timeout = 0

    class Server(ThreadedFTPServer):  # type: ignore[misc]
        # Of its own, as the loop below: those of all servers would end with the first of them.
        _exit: ClassVar = threading.Event()

    server = Server(("127.0.0.1", 0), Handler, ioloop=IOLoop())
    with serving(server.serve_forever, server.close_all):
        yield on_disk(
            "ftp",
            folder,
            {
                "host": "127.0.0.1",
                "port": server.address[1],
                "user": USER,
                "pass": secret,
                # Its MLSD answers 501 for a folder that is missing, which rclone does not know.
                "disable_mlsd": True,
            },
        )


@contextmanager
def gcs() -> Iterator[Storage]:
    """An emulator of Google Cloud Storage; a bucket named `bucket` is there."""
    from gcp_storage_emulator.server import create_server

    logging.getLogger("gcp_storage_emulator").setLevel(logging.CRITICAL)
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket")
    server.start()
    url = f"http://127.0.0.1:{server._api._httpd.server_address[1]}"

    def write(path: str, content: bytes) -> None:
        bucket, _, key = path.partition("/")
        # In two parts, as rclone does it: the emulator cannot take an empty body in one.
        head = json.dumps({"name": key}).encode()
        body = b"--x\r\nContent-Type: application/json\r\n\r\n" + head
        body += b"\r\n--x\r\nContent-Type: application/octet-stream\r\n\r\n" + content
        requests.post(
            f"{url}/upload/storage/v1/b/{bucket}/o",
            params={"uploadType": "multipart"},
            data=body + b"\r\n--x--\r\n",
            headers={"Content-Type": "multipart/related; boundary=x"},
            timeout=10,
        ).raise_for_status()

    def hashes(path: str) -> dict[str, str]:
        bucket, _, prefix = path.partition("/")
        prefix = prefix and prefix + "/"
        listed = requests.get(
            f"{url}/storage/v1/b/{bucket}/o", params={"prefix": prefix}, timeout=10
        )
        return {
            item["name"].removeprefix(prefix): digest(
                requests.get(f"{url}/{bucket}/{item['name']}", timeout=10).content
            )
            for item in listed.json().get("items", [])
        }

    try:
        yield Storage(
            "google cloud storage",
            {"anonymous": True, "endpoint": url, "bucket_policy_only": True},
            write,
            hashes,
            "bucket",
        )
    finally:
        server.stop()
