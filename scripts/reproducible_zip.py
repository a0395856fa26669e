"""Writes zip files that are the same bytes on every build."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# The earliest time in a zip; it must only be the same in every build.
_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)
_UNIX_SYSTEM: Final = 3


@dataclass(frozen=True)
class BuiltZip:
    """A built zip file. Sizes are in bytes.

    `content_sha256` covers names, modes and contents, so it is the same if another zlib version
    compresses them differently.
    """

    file: str
    bytes: int
    unpacked_bytes: int
    sha256: str
    content_sha256: str


def write_zip(
    root: Path, output: Path, programs: frozenset[str] | set[str] = frozenset()
) -> BuiltZip:
    """Write all files below the root to a zip: sorted, with one time, readable by all users."""
    content = hashlib.sha256()
    unpacked = 0
    output.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(output, "w") as archive:
        for name, file in sorted(_files(root).items()):
            mode = 0o100755 if name in programs else 0o100644
            entry = zipfile.ZipInfo(name, _ZIP_TIME)
            entry.create_system = _UNIX_SYSTEM
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            data = file.read_bytes()
            archive.writestr(entry, data, compresslevel=6)
            unpacked += len(data)
            content.update(f"{hashlib.sha256(data).hexdigest()} {mode:o} {name}\n".encode())
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    return BuiltZip(str(output), output.stat().st_size, unpacked, digest, content.hexdigest())


def _files(root: Path) -> Mapping[str, Path]:
    def files() -> Iterator[tuple[str, Path]]:
        for file in root.rglob("*"):
            if file.is_file():
                yield file.relative_to(root).as_posix(), file

    return dict(files())
