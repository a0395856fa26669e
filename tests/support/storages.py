"""Real storages on loopback, each on a port that the kernel chose, for tests and the demo.

Every server is a context manager that gives a `Storage`: how a request names it, and a
way to look at its content that does not go through rclone.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.server
import json
import logging
import os
import re
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import requests

ROOT = Path(__file__).parents[2]
USER = "alice"


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
    from wsgidav.wsgidav_app import WsgiDAVApp

    logging.getLogger("wsgidav").setLevel(logging.CRITICAL)
    secret = password()
    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": str(folder)},
            "simple_dc": {"user_mapping": {"*": {USER: {"password": secret}}}},
            "http_authenticator": {"accept_basic": True, "accept_digest": False},
            "logging": {"enable": False},
            "verbose": 0,
            "lock_storage": False,
        }
    )
    server = wsgi.Server(("127.0.0.1", 0), app, numthreads=16)
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
def sftp(folder: Path) -> Iterator[Storage]:
    """AsyncSSH's SFTP server."""
    import asyncssh

    secret = password()

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == (USER, secret)

    class Files(asyncssh.SFTPServer):
        def __init__(self, channel: Any) -> None:
            super().__init__(channel, chroot=os.fsencode(folder))

    logging.getLogger("asyncssh").setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    key = asyncssh.generate_private_key("ssh-ed25519")

    async def listen() -> Any:
        return await asyncssh.create_server(
            Server, "127.0.0.1", 0, server_host_keys=[key], sftp_factory=Files
        )

    server = loop.run_until_complete(listen())

    def stop() -> None:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)

    with serving(loop.run_forever, stop):
        yield on_disk(
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
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


@contextmanager
def ftp(folder: Path) -> Iterator[Storage]:
    """pyftpdlib's FTP server."""
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.servers import ThreadedFTPServer

    logging.getLogger("pyftpdlib").setLevel(logging.CRITICAL)
    secret = password()
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, secret, str(folder), perm="elradfmwMT")

    class Handler(FTPHandler):  # type: ignore[misc]
        pass

    Handler.authorizer = authorizer
    Handler.auth_failed_timeout = 0
    server = ThreadedFTPServer(("127.0.0.1", 0), Handler)
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


@contextmanager
def misbehaving(
    answer: Callable[[http.server.BaseHTTPRequestHandler], None],
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """An HTTP server, or one of HTTPS, that answers every request as it is told; its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return lambda: answer(self)
            raise AttributeError(name)

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            # Each handshake in its client's own thread, when that first reads.
            server.socket = tls.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        with serving(lambda: server.serve_forever(0.02), server.shutdown):
            scheme = "http" if tls is None else "https"
            yield f"{scheme}://127.0.0.1:{server.server_address[1]}"


@contextmanager
def slow_source(size: int, bytes_per_second: int, files: int = 1) -> Iterator[Storage]:
    """A WebDAV server with a folder of files of `size` zeros, each of which it sends at
    that rate: a copy that is surely still going on."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        path = handler.path.rstrip("/")
        if handler.command == "PROPFIND":
            inside = [f"/data/{number}.bin" for number in range(files)]
            if path == "/data":
                shown = ["/data/", *(inside if handler.headers.get("Depth") == "1" else [])]
            else:
                shown = [path] if path in inside else []
            reply(
                handler, 207 if shown else 404, multistatus(dict.fromkeys(shown, size)), "text/xml"
            )
        elif handler.command == "GET":
            handler.send_response(200)
            handler.send_header("Content-Length", str(size))
            handler.end_headers()
            piece = bytes(max(1, bytes_per_second // 20))
            for _ in range(0, size, len(piece)):
                handler.wfile.write(piece)
                time.sleep(0.05)
        else:
            reply(handler, 405)

    with misbehaving(answer) as url:
        yield Storage(
            "webdav",
            {"url": url, "vendor": "other"},
            _read_only,
            _read_only,
        )


def _read_only(*_: object) -> Any:
    raise AssertionError("this storage is only copied from")


def multistatus(entries: dict[str, int]) -> bytes:
    """What a WebDAV server answers to PROPFIND; a path that ends with / is a folder."""
    responses = "".join(
        f"<d:response><d:href>{path}</d:href><d:propstat><d:prop>"
        + (
            "<d:resourcetype><d:collection/></d:resourcetype>"
            if path.endswith("/")
            else f"<d:resourcetype/><d:getcontentlength>{size}</d:getcontentlength>"
        )
        + "<d:getlastmodified>Sun, 22 Nov 2026 16:00:00 GMT</d:getlastmodified></d:prop>"
        "<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
        for path, size in entries.items()
    )
    return (
        f'<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">{responses}</d:multistatus>'.encode()
    )


def reply(
    handler: http.server.BaseHTTPRequestHandler,
    status: int,
    body: bytes = b"",
    kind: str = "text/plain",
) -> None:
    """Answer with that, after reading what the request brought."""
    handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


LOOPBACK: Final = {"allow": {"networks": ["127.0.0.0/8"]}}
"""A site whose storages may be on this machine."""


@dataclass
class Function:
    """The function, served as an operator would: functions-framework, in its own process."""

    url: str
    process: subprocess.Popen[bytes]
    runtime_dir: Path
    log: Path

    def post(self, body: Any, path: str = "", **options: Any) -> requests.Response:
        """POST a request, or any bytes; no retries, no proxies."""
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        with requests.Session() as session:
            session.trust_env = False
            return session.post(
                self.url + path,
                data=data,
                headers=headers,
                timeout=options.pop("timeout", 120),
                **options,
            )

    def events(self, body: Any) -> Generator[dict[str, Any], None, None]:
        """The events of a transfer, one by one; to leave them is to hang up."""
        with requests.post(
            self.url,
            json=body,
            headers={"Accept": "application/x-ndjson"},
            stream=True,
            timeout=30,
        ) as answer:
            for line in answer.iter_lines():
                yield json.loads(line)

    def get(self, path: str) -> requests.Response:
        """GET a path."""
        with requests.Session() as session:
            session.trust_env = False
            return session.get(self.url + path, timeout=60)

    def copy(self, source: Any, destination: Any, **members: Any) -> requests.Response:
        """POST a transfer."""
        return self.post({"source": source, "destination": destination, **members})

    def family(self) -> list[psutil.Process]:
        """All processes that belong to it: rclone's and the keepers' too."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def worker(self) -> psutil.Process:
        """The process that serves: gunicorn's one child, which runs Python."""
        (found,) = [p for p in self.family() if "functions-framework" in " ".join(p.cmdline())]
        return found

    def leftovers(self) -> list[str]:
        """What a transfer has left: daemons, keepers, folders. Empty within a moment."""
        return leftovers(self.runtime_dir)

    def wait_clean(self, seconds: float = 5) -> None:
        """Fail if something is left after that long."""
        wait_clean(self.runtime_dir, seconds)


def wait_clean(runtime_dir: Path, seconds: float) -> None:
    """Fail if something is left in a runtime folder, or runs there, after that long."""
    until = time.monotonic() + seconds
    while left := leftovers(runtime_dir):
        assert time.monotonic() < until, left
        time.sleep(0.02)


def leftovers(runtime_dir: Path) -> list[str]:
    """Processes that name the folder in their arguments or work in it, and its content."""
    found = [f"file {path}" for path in runtime_dir.iterdir()]
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.cwd()]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if any(str(runtime_dir) in word for word in words) and "functions-framework" not in str(
            words
        ):
            found.append(f"process {process.pid}: {' '.join(words)[:200]}")
    return found


def listening(unix: Path | None = None) -> socket.socket:
    """A socket that listens: at a path, or at a port of loopback that the kernel chose."""
    if unix is None:
        return socket.create_server(("127.0.0.1", 0), backlog=256)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(unix))
    listener.listen(256)
    return listener


@contextmanager
def function(
    runtime_dir: Path,
    *,
    main: Path = ROOT / "functions" / "main.py",
    command: tuple[str, ...] = (str(Path(sys.executable).parent / "functions-framework"),),
    cwd: Path | None = None,
    site: Any = LOOPBACK,
    unix: Path | None = None,
    **settings: str,
) -> Iterator[Function]:
    """The function on a port that the kernel chose; settings without their prefix.

    `site` is the site file's content; None for no file, which is stricter than the storages
    of these tests can bear: they are all on loopback. With `unix` it listens at that path
    instead, which only a gateway can reach: its own `get` and `post` cannot.

    gunicorn takes over a listening socket as rclone does, so that there is no moment in
    which somebody else could take the port.
    """
    log = runtime_dir.parent / f"{runtime_dir.name}.log"
    # What a developer has set for other programs is not what is tested here: DEBUG would
    # even swap the server, and gunicorn shares a control socket between all of a user's.
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EFSS_TRANSFER_", "FUNCTION_"))
        and not name.lower().endswith("_proxy")
        and name not in ("DEBUG", "THREADS", "WORKERS")
    }
    if Path(settings.get("RCLONE", "")).is_file() and "RCLONE_SHA256" not in settings:
        # What a test brings is known to it; the function runs no other program.
        settings["RCLONE_SHA256"] = digest(Path(settings["RCLONE"]).read_bytes())
    # What is tried again is mostly tried in vain here: a server of a test stays as it is.
    settings.setdefault("RETRY_SECONDS", "0.2")
    state = runtime_dir.parent / f"{runtime_dir.name}.state"
    state.mkdir(exist_ok=True)
    if site is not None:
        settings["SITE"] = str(state / "site.json")
        Path(settings["SITE"]).write_text(json.dumps(site))
    environment = {
        **clean,
        "EFSS_TRANSFER_RUNTIME_DIR": str(runtime_dir),
        "THREADS": settings.pop("THREADS", "64"),
        **{f"EFSS_TRANSFER_{name}": value for name, value in settings.items()},
        "LISTEN_FDS": "1",
        "XDG_RUNTIME_DIR": str(state),
    }
    with (
        listening(unix) as listener,
        log.open("wb") as log_file,
        subprocess.Popen(
            [
                "/bin/sh",
                "-c",
                'exec 3<&0 </dev/null; LISTEN_PID=$$ exec "$@"',
                "sh",
                *command,
                f"--source={main}",
                "--target=transfer",
            ],
            stdin=listener.fileno(),
            stdout=log_file,
            stderr=log_file,
            env=environment,
            cwd=cwd,
            process_group=0,
        ) as process,
    ):
        url = "" if unix else f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.close()
        try:
            # The socket's backlog holds this until the function is up.
            started = Function(url, process, runtime_dir, log)
            if unix is None:
                started.get("/").raise_for_status()
            yield started
        finally:
            process.terminate()
            try:
                process.wait(40)
            finally:
                if process.poll() is None:
                    process.kill()
