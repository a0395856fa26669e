"""Where the bench copies from and to: two servers of rclone's, near or far."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from benchmark.cpus import SHARED, Processors, on
from support import slow_network

_BLOCK: Final = 1 << 20
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it


@contextmanager
def ground(size: int) -> Iterator[tuple[Path, str]]:
    """A folder with room for so many bytes, for the length of the block, and what it is on:
    "memory", or a "disk" where that has no room to spare.

    Memory, because no disk is to be measured; nor what ext4 does where the bench has just
    removed thousands of files, whose inodes it passes over one by one for each new file: that
    was half of the S3 server's processor time (perf: ext4_create, recently_deleted).
    """
    in_memory = _MEMORY.is_dir() and size < min(
        psutil.disk_usage(str(_MEMORY)).free, psutil.virtual_memory().available // 2
    )
    with tempfile.TemporaryDirectory(prefix="eb", dir=_MEMORY if in_memory else None) as folder:
        yield Path(folder), "memory" if in_memory else "disk"


@contextmanager
def served(binary: Path, kind: str, folder: Path) -> Iterator[str]:
    """`rclone serve` of a folder; its URL.

    moto's S3 and WebDAV servers in Python are too slow to measure against: it would be they
    that are measured.
    """
    command = [str(binary), "serve", kind, str(folder), "--addr", "127.0.0.1:0", "-v"]
    command += ["--config", ""]
    if kind == "s3":
        command.append("--auth-key=bench,bench-secret")
    with (folder.parent / f"{kind}.log").open("w+") as log:
        process = subprocess.Popen(command, stderr=log, env={"HOME": str(folder)})
        try:
            yield f"http://127.0.0.1:{_port(process, Path(log.name))}"
        finally:
            process.kill()
            process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> str:
    while process.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text("utf-8")):
            return found[1]
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
    raise SystemExit(f"scripts/bench: rclone serve did not start: {log.read_text('utf-8')[:500]}")


@dataclass(frozen=True)
class Places:
    """A WebDAV and an S3 server, as they are reached over one network. What they hold stands
    in `folder`, each in a folder of its type; the S3 server's buckets are `source` and `copies`.
    """

    folder: Path
    urls: dict[str, str]

    def endpoint(self, kind: str, path: str) -> dict[str, Any]:
        """An endpoint of a request; `path` begins with `source` or `copies`."""
        parameters = {"url": self.urls[kind], "vendor": "rclone"}
        if kind == "s3":
            parameters = {
                "provider": "Rclone",
                "endpoint": self.urls[kind],
                "access_key_id": "bench",
                "secret_access_key": "bench-secret",
            }
        return {"type": kind, "parameters": parameters, "path": path}

    def at(self, endpoint: dict[str, Any]) -> Path:
        """Where on this machine an endpoint's content stands."""
        return self.folder / str(endpoint["type"]) / str(endpoint["path"])


@contextmanager
def far(
    near: Places, round_trip: float, rate: float, processors: Processors = SHARED
) -> Iterator[Places]:
    """The same servers over a network with that round trip, in seconds, on each side, and so
    many bytes a second for each connection; as they are if there is neither.
    """
    if not round_trip and not rate:
        yield near
        return
    with ExitStack() as running:
        urls = {}
        for kind, url in near.urls.items():
            with on(processors.storages):
                urls[kind] = running.enter_context(slow_network.distant(url, round_trip, rate))
        yield Places(near.folder, urls)


@contextmanager
def near(binary: Path, folder: Path, processors: Processors = SHARED) -> Iterator[Places]:
    """Both servers, with what stands in their folders already."""
    with ExitStack() as running:
        urls = {}
        for kind in ("webdav", "s3"):
            for part in ("source", "copies"):
                (folder / kind / part).mkdir(parents=True, exist_ok=True)
            with on(processors.storages):
                urls[kind] = running.enter_context(served(binary, kind, folder / kind))
        yield Places(folder, urls)


def fill(folder: Path, sizes: dict[str, int]) -> None:
    """Write random files of these sizes, the same in each run."""
    made = random.Random(1)  # noqa: S311 - nothing is kept secret by it
    for name, size in sizes.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as writing:
            left = size
            while left:
                writing.write(made.randbytes(min(_BLOCK, left)))
                left -= min(_BLOCK, left)


def same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files, byte for byte."""
    files = {file.relative_to(one) for file in one.rglob("*") if file.is_file()}
    copied = {file.relative_to(other) for file in other.rglob("*") if file.is_file()}
    return files == copied and all(_same_bytes(one / file, other / file) for file in files)


def _same_bytes(one: Path, other: Path) -> bool:
    with one.open("rb") as left, other.open("rb") as right:
        while True:
            piece = left.read(_BLOCK)
            if piece != right.read(_BLOCK):
                return False
            if not piece:
                return True


def remove(folder: Path) -> None:
    """Make room again: large copies would fill the disk, run after run."""
    shutil.rmtree(folder, ignore_errors=True)
