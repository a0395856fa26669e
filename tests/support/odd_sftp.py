"""An SFTP server as OpenSSH's: a named pipe blocks whoever opens it, and there is a shell.

with odd_sftp.running(folder, greeting="silent") as server:
    function.copy(server.endpoint("data"), …)
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.storages import USER, Storage, on_disk, password, serving

Sums = Callable[[str, bytes], tuple[str, str]]
"""What a shell prints for a file's digest and content: its output, and its errors."""


def _run(command: str, folder: Path, sums: Sums) -> tuple[str, str]:
    """What a POSIX shell prints for the commands that rclone sends."""
    if "ComSpec" in command:
        return "/bin/sh%ComSpec%\n", ""
    name = command.split()[0].removesuffix("sum") if command else ""
    if name not in ("md5", "sha1"):
        return "", "sh: not found\n"
    words = shlex.split(command)
    if len(words) < 2:  # of an empty input, by which rclone sees whether there is such a command
        return f"{hashlib.new(name, b'').hexdigest()}  -\n", ""
    file = folder / words[-1].lstrip("/")
    content = file.read_bytes() if file.is_file() else b""
    return sums(hashlib.new(name, content).hexdigest(), content)


@contextmanager
def running(folder: Path, greeting: str = "none", sums: Sums | None = None) -> Iterator[Storage]:
    """The server. Its shell is `none` (refused), `silent` (never answers), or `greets`; with `sums`
    it computes checksums.
    """
    import asyncssh

    secret, loop, never = password(), asyncio.new_event_loop(), asyncio.Event()

    class Server(asyncssh.SSHServer):
        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == (USER, secret)

    class Files(asyncssh.SFTPServer):
        def __init__(self, channel: Any) -> None:
            super().__init__(channel, chroot=os.fsencode(folder))

        async def open(self, path: bytes, pflags: int, attrs: Any) -> Any:
            if Path(os.fsdecode(self.map_path(path))).is_fifo():
                await never.wait()
            return super().open(path, pflags, attrs)

    async def answer(process: Any) -> None:
        if greeting == "silent":
            await never.wait()
        if sums is None:
            process.stdout.write("Welcome to the cluster!\n")
            process.exit(0)
            return
        out, error = _run(str(process.command or ""), folder, sums)
        process.stdout.write(out)
        process.stderr.write(error)
        process.exit(1 if error else 0)

    logging.getLogger("asyncssh").setLevel(logging.CRITICAL)

    async def listen() -> Any:
        return await asyncssh.create_server(
            Server,
            "127.0.0.1",
            0,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            sftp_factory=Files,
            process_factory=None if greeting == "none" and sums is None else answer,
        )

    server = loop.run_until_complete(listen())

    def stop() -> None:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)

    address = {"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1]}
    with serving(loop.run_forever, stop):
        yield on_disk("sftp", folder, {**address, "user": USER, "pass": secret})
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def without_times(*, refuses: bool) -> Callable[..., Any]:
    """File operations for `storages.sftp` that ignore the times and modes that are set, or refuse
    them.
    """
    import asyncssh

    class Files(asyncssh.SFTPServer):
        def setstat(self, *_: Any, **__: Any) -> None:
            if refuses:
                raise asyncssh.SFTPPermissionDenied("setstat is not allowed")

        fsetstat = setstat

    return Files
