"""A TCP proxy that makes a server on this machine as far away as one elsewhere: each round
trip takes so much longer, that of the connection's own beginning too; bandwidth stays."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def proxy(port: int, round_trip_seconds: float) -> Iterator[int]:
    """A port that leads to another one of this machine's, that far away."""
    loop = asyncio.new_event_loop()
    connections: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """All bytes of one direction, each half a round trip after it came."""
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(256)

        async def deliver() -> None:
            while True:
                due, data = await late.get()
                await asyncio.sleep(due - loop.time())
                if not data:
                    writer.close()
                    return
                writer.write(data)
                await writer.drain()

        delivering = asyncio.ensure_future(deliver())
        try:
            with suppress(OSError):
                while data := await reader.read(1 << 16):
                    await late.put((loop.time() + round_trip_seconds / 2, data))
            await late.put((loop.time() + round_trip_seconds / 2, b""))
            with suppress(OSError):
                await delivering
        finally:
            delivering.cancel()
            writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await asyncio.sleep(round_trip_seconds)
            there, back = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(carry(reader, back), carry(there, writer))
        except OSError:
            writer.close()
        finally:
            connections.discard(task)

    async def end() -> None:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    server = loop.run_until_complete(asyncio.start_server(accept, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
