"""The storages of the benchmark: two servers of rclone, local or behind a slow network."""

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
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - used for a temporary folder


@contextmanager
def work_folder(size: int) -> Iterator[tuple[Path, str]]:
    """A temporary folder with space for `size` bytes, and its medium: "memory" or "disk".

    Memory if there is enough, so that the disk does not influence the results. After thousands of
    deletions ext4 skips their inodes one by one for each new file, which took half of the S3
    server's CPU time (perf: ext4_create, recently_deleted).
    """
    in_memory = _MEMORY.is_dir() and size < min(
        psutil.disk_usage(str(_MEMORY)).free, psutil.virtual_memory().available // 2
    )
    with tempfile.TemporaryDirectory(prefix="eb", dir=_MEMORY if in_memory else None) as folder:
        yield Path(folder), "memory" if in_memory else "disk"


@contextmanager
def serve(binary: Path, kind: str, folder: Path, certificate: Path | None = None) -> Iterator[str]:
    """`rclone serve` of a folder, over TLS if there is a certificate; yields its URL.

    moto and WebDAV servers in Python would be slower than the measured programs.
    """
    command = [str(binary), "serve", kind, str(folder), "--addr", "127.0.0.1:0", "-v"]
    command += ["--config", ""]
    if kind == "s3":
        command.append("--auth-key=bench,bench-secret")
    if certificate is not None:
        command += ["--cert", str(certificate), "--key", str(certificate)]
    with (folder.parent / f"{kind}.log").open("w+") as log:
        process = subprocess.Popen(command, stderr=log, env={"HOME": str(folder)})
        try:
            scheme = "http" if certificate is None else "https"
            yield f"{scheme}://127.0.0.1:{_port(process, Path(log.name))}"
        finally:
            process.kill()
            process.wait()


def _port(process: subprocess.Popen[bytes], log: Path) -> str:
    while process.poll() is None:
        if found := re.search(r"https?://127\.0\.0\.1:(\d+)", log.read_text("utf-8")):
            return found[1]
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
    raise SystemExit(f"scripts/bench: rclone serve did not start: {log.read_text('utf-8')[:500]}")


@dataclass(frozen=True)
class Servers:
    """A WebDAV and an S3 server, with their URLs in one network.

    Their files are in `folder`, below a folder named after the type; the buckets of the S3 server
    are `source` and `copies`.
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

    def folder_of(self, endpoint: dict[str, Any]) -> Path:
        """The local folder of an endpoint."""
        return self.folder / str(endpoint["type"]) / str(endpoint["path"])


@contextmanager
def distant_servers(
    local: Servers, round_trip: float, rate: float, processors: Processors = SHARED
) -> Iterator[Servers]:
    """The servers behind a network with this round trip, in seconds, for each server.

    `rate` limits each connection, in bytes a second; 0 means no limit.
    """
    if not round_trip and not rate:
        yield local
        return
    with ExitStack() as running:
        urls = {}
        for kind, url in local.urls.items():
            with on(processors.storages):
                urls[kind] = running.enter_context(slow_network.distant(url, round_trip, rate))
        yield Servers(local.folder, urls)


@contextmanager
def local_servers(
    binary: Path,
    folder: Path,
    processors: Processors = SHARED,
    certificate: Path | None = None,
) -> Iterator[Servers]:
    """Both servers on this machine, with the files that are in their folders.

    With a certificate, the WebDAV server speaks TLS.
    """
    with ExitStack() as running:
        urls = {}
        for kind in ("webdav", "s3"):
            for part in ("source", "copies"):
                (folder / kind / part).mkdir(parents=True, exist_ok=True)
            with on(processors.storages):
                tls = certificate if kind == "webdav" else None
                urls[kind] = running.enter_context(serve(binary, kind, folder / kind, tls))
        yield Servers(folder, urls)


def fill(folder: Path, sizes: dict[str, int]) -> None:
    """Write files of these sizes with random content, the same in each run."""
    generator = random.Random(1)  # noqa: S311 - not used for secrets
    for name, size in sizes.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as output:
            left = size
            while left:
                output.write(generator.randbytes(min(_BLOCK, left)))
                left -= min(_BLOCK, left)


def is_identical(one: Path, other: Path) -> bool:
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
    """Remove a copy, so that many runs do not fill the disk."""
    shutil.rmtree(folder, ignore_errors=True)
