"""Uploads by tus that are under way, and how the stand-in answers to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from support.opencloud.places import Place
    from support.opencloud.tree import File, Folder, Node

Lie = Literal["offset", "bytes", "lost"]


@dataclass
class TusSettings:
    """Settings of tus.

    `is_on`: whether OPTIONS offers it. `origin`: the origin of the addresses of uploads, the
    server's own if it is empty. `seconds`: how long an upload is kept. `terminates`: whether DELETE
    ends one. `lies`: an answer to PATCH with a wrong offset; other bytes in the file than were
    sent; success for a file that is not there.
    """

    is_on: bool = True
    max_chunk: int = 10_000_000
    origin: str = ""
    seconds: float = 86_400
    terminates: bool = True
    lies: set[Lie] = field(default_factory=set)


@dataclass(eq=False)
class TusSession:
    """An upload. `file` is what it became."""

    token: str
    place: Place
    parent: Folder
    name: str
    there: Node | None
    size: int
    mtime: str | None
    content: Path
    expires: float
    file: File | None = None

    @property
    def offset(self) -> int:
        """How many bytes arrived."""
        return self.size if self.file is not None else self.content.stat().st_size
