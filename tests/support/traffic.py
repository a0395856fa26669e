"""Counts the bytes that a Python process receives from sockets.

The kernel's counters of a process (`/proc/PID/io`) lack what it reads by recv.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_COUNTER: Final = """
import mmap, os, socket, struct
_file = open(os.environ["TESTED_TRAFFIC"], "r+b")
_shared = mmap.mmap(_file.fileno(), 8)
_plain = socket.socket

def _count(name):
    original = getattr(_plain, name)
    def counting(self, *arguments):
        found = original(self, *arguments)
        count = found if isinstance(found, int) else len(found)
        _shared[:] = struct.pack("q", struct.unpack("q", _shared[:])[0] + count)
        return found
    setattr(_plain, name, counting)

_count("recv")
_count("recv_into")
"""


@dataclass(frozen=True)
class Traffic:
    """What has been received so far, by a process with these variables in its environment."""

    variables: tuple[str, ...]
    _shared: mmap.mmap

    @property
    def bytes(self) -> int:
        """Bytes so far."""
        return int(struct.unpack("q", self._shared[:])[0])


@contextmanager
def counting(folder: Path) -> Iterator[Traffic]:
    """A counter, in a folder of its own. Threads may count too little where they meet."""
    (folder / "sitecustomize.py").write_text(_COUNTER)
    counter = folder / "counter"
    counter.write_bytes(bytes(8))
    with counter.open("r+b") as file, mmap.mmap(file.fileno(), 8) as shared:
        yield Traffic((f"PYTHONPATH={folder}", f"TESTED_TRAFFIC={counter}"), shared)
