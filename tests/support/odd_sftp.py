"""An SFTP server as OpenSSH's: a named pipe blocks whoever opens it, and there is a shell.

with odd_sftp.running(folder, greeting="silent") as server:
    function.copy(server.endpoint("data"), …)
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.storages import USER, Storage, on_disk, password, serving


@contextmanager
def running(folder: Path, greeting: str = "none") -> Iterator[Storage]:
    """The server. Its shell is `none` (refused), `silent` (never answers), or `greets`."""
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
        process.stdout.write("Welcome to the cluster!\n")
        process.exit(0)

    logging.getLogger("asyncssh").setLevel(logging.CRITICAL)

    async def listen() -> Any:
        return await asyncssh.create_server(
            Server,
            "127.0.0.1",
            0,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            sftp_factory=Files,
            process_factory=None if greeting == "none" else answer,
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
