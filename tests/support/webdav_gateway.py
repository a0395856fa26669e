"""A WebDAV gateway on a port of loopback, in a thread of its own, for tests and measurements.

In the service nothing listens for it: the guard hands connections over. Whatever speaks HTTP can
use this one, rclone's command as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from efss_transfer.webdav import recognition
from efss_transfer.webdav.budget import Budget
from efss_transfer.webdav.credentials.credential import FixedCredential, basic
from efss_transfer.webdav.dialects import Dialect, of_vendor
from efss_transfer.webdav.gateway import Gateway
from efss_transfer.webdav.http.client import Upstream
from efss_transfer.webdav.http.connections import Connections, NoAnswer, Origin
from efss_transfer.webdav.session import ServerSession


@dataclass
class Running:
    """A gateway that runs: `url` is what rclone is given, without any credential."""

    url: str
    gateway: Gateway
    dialect: Dialect
    dialled: list[tuple[str, int]] = field(default_factory=list)

    def connection_string(self, path: str = "", **options: str) -> str:
        """As rclone's command names it."""
        parameters = {
            "url": self.url,
            "vendor": self.dialect.vendor,
            "nextcloud_chunk_size": "0",
            "pacer_min_sleep": "1ms",
            **options,
        }
        return (
            ":webdav,"
            + ",".join(f'{name}="{text}"' for name, text in parameters.items())
            + (f":{path}")
        )


async def dial(host: str, port: int) -> socket.socket:
    """A connection to whatever there is."""
    connection = socket.socket()
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, (host, port))
    except OSError as error:
        connection.close()
        raise NoAnswer("refused", f"nothing listens at {host}:{port}") from error
    return connection


@contextmanager
def gateway(
    url: str,
    *,
    vendor: str = "other",
    user: str | None = None,
    password: str = "",
    tls: ssl.SSLContext | None = None,
    proxy: str | None = None,
    is_destination: bool = False,
    asks: bool = True,
    budget: Budget | None = None,
    may_redirect: Callable[[Origin], bool] = lambda _: False,
    **patience: Any,
) -> Iterator[Running]:
    """A gateway to a server, for the length of the block. `asks`: whether the server is asked
    what it is, as in the service.
    """
    loop = asyncio.new_event_loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    listener.setblocking(False)
    dialled: list[tuple[str, int]] = []

    async def noted(host: str, port: int) -> socket.socket:
        dialled.append((host, port))
        return await dial(host, port)

    connections = Connections(noted, tls=tls, proxy=Origin.of(proxy) if proxy else None)
    stall = patience.pop("stall_seconds", 20.0)
    upstream = Upstream(Origin.of(url), connections, may_redirect=may_redirect, stall_seconds=stall)
    session = ServerSession(
        upstream,
        urlsplit(url).path,
        credential=FixedCredential(basic(user, password) if user else None),
        **patience,
    )
    dialect = of_vendor(vendor)
    made: list[Gateway] = []
    started = threading.Event()
    tasks: set[asyncio.Task[None]] = set()

    async def listen() -> None:
        nonlocal dialect
        if asks:
            dialect = await recognition.recognised(upstream, session.home, dialect)
        made.append(
            Gateway(session, connections, dialect, is_destination=is_destination, budget=budget)
        )
        made[0].begin_copy()  # no probe comes first
        started.set()
        while True:
            client, _ = await loop.sock_accept(listener)
            client.setblocking(False)
            task = loop.create_task(made[0].attend(client))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def stop(accepting: asyncio.Task[None]) -> None:
        made[0].begin_close()
        for task in {accepting, *tasks}:
            task.cancel()
        await asyncio.wait({accepting, *tasks})
        await made[0].close()

    accepting = loop.create_task(listen())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    started.wait(10)
    try:
        yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", made[0], dialect, dialled)
    finally:
        asyncio.run_coroutine_threadsafe(stop(accepting), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        with contextlib.closing(loop), listener:
            pass


def run(rclone: Path, *arguments: str, tries: str = "1") -> subprocess.CompletedProcess[str]:
    """rclone's command; its log is in stderr."""
    return subprocess.run(
        [rclone, *arguments, "--config", "", "-vv", "--retries", tries, "--low-level-retries", "2"],
        capture_output=True,
        text=True,
        timeout=60,
        env={"HOME": "/nonexistent"},
    )
