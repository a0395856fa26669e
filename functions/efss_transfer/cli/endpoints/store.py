"""Add endpoints to the endpoints file and remove them, without a change to the rest of it.

A table is appended, and a table's lines are cut out: comments, order and spaces of the others
stay as the person wrote them. The new text is parsed before it is written; if it says anything
else than the old one but for this endpoint, nothing is written.
"""

from __future__ import annotations

import json
import os
import tempfile
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from efss_transfer.cli import endpoints_file
from efss_transfer.cli.endpoints_file import InvalidEndpoints

_SECRETS: Final = "secrets"


class Store:
    """An endpoints file, and the folder beside it with the secrets of its endpoints."""

    def __init__(self, file: Path | None) -> None:
        """None is the default file. Either may be missing until something is added."""
        self.file = (file or endpoints_file.default_file()).absolute()
        self._secrets = self.file.parent / _SECRETS

    def entries(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the endpoints by name. Raises InvalidEndpoints."""
        if not self.file.exists():
            return {}
        return endpoints_file.read(self.file, lambda _: "").entries

    def refuse_taken(self, name: str) -> None:
        """Refuse a name that an endpoint has already. Raises InvalidEndpoints."""
        if name in self.entries():
            raise InvalidEndpoints(
                f"{shown(self.file)} has an endpoint {name!r} already. Choose another name, or "
                f"first run efss-transfer endpoints remove {name}."
            )

    def add(self, name: str, entry: Mapping[str, Any], secrets: Mapping[str, str]) -> list[Path]:
        """Add an endpoint whose `secrets` go into files; return these. Raises InvalidEndpoints."""
        self.refuse_taken(name)
        made: list[Path] = []
        try:
            references = {}
            for parameter, secret in secrets.items():
                made.append(self._keep(name, parameter, secret))
                references[parameter] = {"file": shown(made[-1])}
            parameters = {**entry["parameters"], **references}
            self._append(name, {**entry, "parameters": parameters})
        except OSError as error:
            _remove(made)
            raise InvalidEndpoints(f"{error.filename}: {error.strerror}.") from None
        except InvalidEndpoints:
            _remove(made)
            raise
        return made

    def remove(self, name: str) -> list[Path]:
        """Remove an endpoint, and the files that `add` made for its secrets; return these.

        Raises InvalidEndpoints.
        """
        rest = dict(self.entries())
        entry = rest.pop(name)
        text = self._text()
        new = _dump(rest) if self._is_json else _without_table(text, name)
        if self._parsed(new) != rest:
            raise InvalidEndpoints(
                f"{shown(self.file)} has a form that cannot be changed without a change to other "
                f"endpoints. Remove {name!r} in an editor."
            )
        self._write(new)
        files = [
            self._secrets / f"{name}.{parameter}"
            for parameter, value in entry.get("parameters", {}).items()
            if isinstance(value, Mapping)
            and "file" in value
            and Path(value["file"]).expanduser() == self._secrets / f"{name}.{parameter}"
        ]
        return _remove(files)

    @property
    def _is_json(self) -> bool:
        return self.file.suffix == ".json"

    def _text(self) -> str:
        # Bytes, so that the ends of lines stay as they are.
        return self.file.read_bytes().decode("utf-8") if self.file.exists() else ""

    def _parsed(self, text: str) -> Any:
        try:
            return json.loads(text) if self._is_json else tomllib.loads(text)
        except ValueError:
            return None

    def _keep(self, name: str, parameter: str, secret: str) -> Path:
        """Write a secret into a new file that only this person can read. Raises OSError."""
        self._secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = self._secrets / f"{name}.{parameter}"
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise InvalidEndpoints(
                f"{shown(file)} exists already, and no endpoint {name!r} refers to it. Remove "
                "it, or choose another name."
            ) from None
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            opened.write(secret)
        return file

    def _append(self, name: str, entry: Mapping[str, Any]) -> None:
        old = self.entries()
        text = self._text()
        wanted = {**old, name: entry}
        if self._is_json:
            new = _dump(wanted)
        else:
            before = text if not text or text.endswith("\n") else f"{text}\n"
            new = f"{before}\n{_table(name, entry)}" if before else _table(name, entry)
        if self._parsed(new) != wanted:
            raise InvalidEndpoints(
                f"{shown(self.file)} has a form to which nothing can be added. Add the endpoint in "
                "an editor."
            )
        self._write(new)

    def _write(self, text: str) -> None:
        """Replace the file in one step, with the rights that it has. Raises OSError."""
        # A link, as those who keep their settings in a repository have it, stays a link.
        file = self.file.resolve()
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(text.encode())
            if file.exists():
                Path(temporary).chmod(file.stat().st_mode & 0o777)
            Path(temporary).replace(file)
        except BaseException:
            with suppress(OSError):
                Path(temporary).unlink()
            raise


def shown(file: Path) -> str:
    """Return a path as a person writes it: with ~ for the home folder."""
    with suppress(ValueError, RuntimeError):
        return f"~/{file.relative_to(Path.home())}"
    return str(file.absolute())


def _remove(files: list[Path]) -> list[Path]:
    """Remove files, and return those that existed."""
    removed = []
    for file in files:
        with suppress(OSError):
            file.unlink()
            removed.append(file)
    return removed


def _dump(entries: Mapping[str, Any]) -> str:
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def _table(name: str, entry: Mapping[str, Any]) -> str:
    """Format an endpoint as TOML."""
    key = _value(name) if "." in name else name
    lines = [f"[{key}]"]
    lines += [f"{it} = {_value(value)}" for it, value in entry.items() if it != "parameters"]
    lines.append(f"[{key}.parameters]")
    lines += [f"{it} = {_value(value)}" for it, value in entry["parameters"].items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    """Format a value as TOML, whose strings, numbers and booleans are those of JSON."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_value(it)}" for key, it in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def _without_table(text: str, name: str) -> str:
    """Cut the lines of an endpoint's tables out of a TOML document."""
    kept: list[str] = []
    held: list[str] = []  # comments and blank lines, which may belong to the table that follows
    is_cut = False
    for line in text.splitlines(keepends=True):
        words = line.strip()
        if (top := _top_of(words)) is not None:
            is_cut = top == name
            kept += [] if is_cut else held
            held = []
        if not is_cut:
            kept.append(line)
        elif words and not words.startswith("#"):
            held = []
        elif words or held or (kept and kept[-1].strip()):
            held.append(line)
    while held and not held[-1].strip():
        held.pop()
    kept += held
    while kept and not kept[-1].strip():
        kept.pop()
    return "".join(kept)


def _top_of(line: str) -> str | None:
    """Return the first part of the name in a table's header; None for any other line."""
    if not line.startswith("["):
        return None
    try:
        return next(iter(tomllib.loads(line)), None)
    except tomllib.TOMLDecodeError:
        return None
