"""A port of loopback that stays one's own while nothing listens on it.

    with held_port() as port:
        server = start("127.0.0.1", port)

A port that was only looked up may be another program's a moment later, with many tests at once.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_port() -> Iterator[int]:
    """A port that the kernel gives to nobody else for the length of the block.

    It is bound and not listened on, so connections are refused, and who binds it by its number
    with SO_REUSEADDR, as servers do, may listen there.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])
