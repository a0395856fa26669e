"""Reads the log lines about entries that rclone passes over in a listing."""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final
from urllib.parse import unquote

from efss_transfer.engines.rclone.log.error_codes import OBJECT_NOT_FOUND, classify
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.errors import CODES
from efss_transfer.model.result import Failure, Side

BEGINNINGS: Final = (
    "skipping because of error: ",
    "Ignoring item with bad status ",
    "Item with unknown path received: ",
    "failed to URL decode ",
    "Odd name received ",
    "Odd directory name received ",
    "Nil ",
)
"""How the lines begin."""

_QUOTED: Final = r'"((?:[^"\\]|\\.)*)"'
_SKIPPED: Final = re.compile(r"skipping because of error: (?:failed to stat: )?(.*)", re.DOTALL)
_BAD_STATUS: Final = re.compile(rf"Ignoring item with bad status \[{_QUOTED}")
_UNKNOWN_PATH: Final = re.compile(rf"Item with unknown path received: {_QUOTED}, {_QUOTED}$")
_UNDECODED: Final = re.compile(rf"failed to URL decode {_QUOTED} in listing( common prefix)?: ")
_ODD_NAME: Final = re.compile(rf"Odd (?:directory )?name received {_QUOTED}$")
_NIL_NAME: Final = re.compile(r"Nil (?:common prefix|name|prefix) received$")
_NAMELESS: Final = Failure(
    "storage_error",
    "The server's listing has an entry without a name, which cannot be copied.",
    CODES["storage_error"].retryable,
    Side.SOURCE,
)
_SERVER_ERROR: Final = re.compile(r"\b500\b")


@dataclass(frozen=True)
class ListingRoot:
    """Where the listings of one side begin: the storage's type as rclone names it, the folder's
    path in the storage, and for WebDAV the path of the server's URL.
    """

    type: str
    path: str
    url_path: str = ""

    @property
    def whole(self) -> str:
        """The path as the server knows it."""
        return "/".join(filter(None, f"{self.url_path}/{self.path}".split("/")))


class Location(Enum):
    """What is known of the place of an entry."""

    FILE = "file"
    """The path is a file's, relative to the folder that is copied."""
    FOLDER = "folder"
    """The path is a folder's."""
    EITHER = "either"
    """The path is that of a file or a folder."""
    UNKNOWN = "unknown"
    """The entry is below the folder, at a path that is unknown."""
    OUTSIDE = "outside"
    """The entry seems to be outside of the folder; the path is that of the folder."""


@dataclass(frozen=True)
class Finding:
    """An entry that rclone passed over in a listing of one of the `sides`."""

    location: Location
    path: str
    failure: Failure
    sides: tuple[Side, ...]


Roots = Mapping[Side, ListingRoot]


def found_in(
    message: str, name: str, kind: str, roots: Roots, redactor: Redactor
) -> Finding | None:
    """The entry that a line is about; None if the line is about none, or loses nothing.

    `name` is what the line names, `kind` its Go type.
    """
    for pattern, read in _READERS:
        if match := pattern.match(message):
            return read(match, name, kind, roots, redactor)
    return None


def _skipped(
    match: re.Match[str], name: str, _kind: str, roots: Roots, redactor: Redactor
) -> Finding | None:
    cause = match[1]
    if cause == OBJECT_NOT_FOUND:
        return None  # A link to a file that does not exist.
    text = f"The folder's index links to this file, but the server refuses HEAD for it: {cause}"
    return Finding(Location.FILE, name, _temporary(text, cause, redactor), _of_type("http", roots))


def _bad_status(
    match: re.Match[str], name: str, _kind: str, roots: Roots, redactor: Redactor
) -> Finding | None:
    # Only the first status of an entry decides for rclone.
    cause = _unquoted(match[1])
    text = f"The listing has an error in place of this entry's properties: {cause}"
    failure = _temporary(text, cause, redactor)
    return Finding(Location.EITHER, name, failure, _of_type("webdav", roots))


def _temporary(text: str, cause: str, redactor: Redactor) -> Failure:
    """The failure of an entry that was asked for once: another attempt may cure a 500."""
    failure = classify(text, Side.SOURCE, redactor)
    if failure.code == "storage_error" and _SERVER_ERROR.search(cause):
        return replace(failure, retryable=True)
    return failure


def _unknown_path(
    match: re.Match[str], _name: str, _kind: str, roots: Roots, redactor: Redactor
) -> Finding | None:
    entry, folder = _unquoted(match[1]), _unquoted(match[2])
    asked = folder.strip("/")
    inside = {side: root.whole for side, root in roots.items() if root.type == "webdav"}
    sides = tuple(
        side
        for side, whole in inside.items()
        if f"{asked}/".startswith(f"{whole}/" if whole else "")
    )
    root = inside.get(sides[0], "") if sides else ""
    relative = asked.removeprefix(root).strip("/")
    return _misplaced(entry, folder, relative, sides or tuple(inside), redactor)


def _odd_name(
    match: re.Match[str], name: str, kind: str, roots: Roots, redactor: Redactor
) -> Finding | None:
    sides = _of_bucket(name, kind, roots)
    folder = _folder_in_bucket(roots[sides[0]]) if sides else ""
    return _misplaced(_unquoted(match[1]), folder, "", sides, redactor)


def _misplaced(
    entry: str, folder: str, relative: str, sides: tuple[Side, ...], redactor: Redactor
) -> Finding | None:
    """An entry that is not in the folder that was listed, as the server spells it."""
    ours, theirs = _parts(folder), _parts(entry)
    if not entry.strip():
        return Finding(Location.UNKNOWN, "", _NAMELESS, sides)
    if theirs == ours[-len(theirs) :] or theirs == ours[: len(theirs)]:
        return None  # The folder itself, or one above it.
    text = (
        f"The server lists `{entry}` in the folder `{folder}`: the paths do not match, so this "
        "entry cannot be copied. Spell the folder in `path` and `url` as the server does."
    )
    shown = redactor.redact(text, "The server's listing does not match the folder's path.")
    failure = Failure("storage_error", shown, retryable=False, side=Side.SOURCE)
    if any(theirs[at : at + len(ours)] == ours for at in range(len(theirs) - len(ours))):
        return Finding(Location.UNKNOWN, "", failure, sides)
    return Finding(Location.OUTSIDE, relative, failure, sides)


def _undecoded(
    match: re.Match[str], name: str, kind: str, roots: Roots, _redactor: Redactor
) -> Finding | None:
    key, sides = _unquoted(match[1]), _of_bucket(name, kind, roots)
    folder = _folder_in_bucket(roots[sides[0]]) if sides else ""
    text = (
        "The server's listing ignores `encoding-type=url`, so this name cannot be read. Set the "
        "parameter `provider` to `Other`, or rename the file."
    )
    failure = Failure("name_refused", text, retryable=False, side=Side.SOURCE)
    path = key.removeprefix(f"{folder}/" if folder else "")
    is_folder = match[2] is not None
    location = Location.FOLDER if is_folder else Location.FILE
    return Finding(location, path.rstrip("/") if is_folder else path, failure, sides)


def _nil_name(
    _match: re.Match[str], name: str, kind: str, roots: Roots, _redactor: Redactor
) -> Finding | None:
    return Finding(Location.UNKNOWN, "", _NAMELESS, _of_bucket(name, kind, roots))


_Reader = Callable[[re.Match[str], str, str, Roots, Redactor], Finding | None]
_READERS: Final[tuple[tuple[re.Pattern[str], _Reader], ...]] = (
    (_SKIPPED, _skipped),
    (_BAD_STATUS, _bad_status),
    (_UNKNOWN_PATH, _unknown_path),
    (_UNDECODED, _undecoded),
    (_ODD_NAME, _odd_name),
    (_NIL_NAME, _nil_name),
)


def _of_type(storage_type: str, roots: Roots) -> tuple[Side, ...]:
    return tuple(side for side, root in roots.items() if root.type == storage_type)


def _of_bucket(name: str, kind: str, roots: Roots) -> tuple[Side, ...]:
    """The sides that a line about a storage with buckets may be of: those of its type, and of
    these the ones whose bucket and folder it names.
    """
    package = kind.strip("*").partition(".")[0]
    sides = tuple(side for side, root in roots.items() if root.type.replace(" ", "") == package)
    named = tuple(side for side in sides if name.endswith(_description(roots[side])))
    return named or sides


def _description(root: ListingRoot) -> str:
    """How rclone describes a folder of a bucket, without the name of the storage."""
    bucket, _, folder = root.path.strip("/").partition("/")
    if not bucket:
        return " root"
    return f" {bucket} path {folder}" if folder else f" {bucket}"


def _folder_in_bucket(root: ListingRoot) -> str:
    return root.path.strip("/").partition("/")[2]


def _parts(path: str) -> list[str]:
    """The names of a path, without differences that servers make in the spelling."""
    folded = unicodedata.normalize("NFC", unquote(path)).casefold()
    return [name for name in folded.split("/") if name]


def _unquoted(text: str) -> str:
    """A text that Go has quoted: its escapes are also Python's."""
    try:
        return str(ast.literal_eval(f'"{text}"'))
    except (SyntaxError, ValueError):
        return text
