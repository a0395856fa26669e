"""The user's own file of endpoints, and what `NAME:PATH` means with it.

    [cloud]                                 its name
    type = "webdav"                         or `storage = "archive"`: one of the site's
    path = "Measurements"                   what PATH is below; the root if left out
    [cloud.parameters]
    url = "https://cloud.example.org/remote.php/dav/files/alice"
    vendor = "nextcloud"
    user = "alice"
    pass = {env = "CLOUD_PASSWORD"}         or {file = "~/.cloud"}, {fd = 3}, {prompt = "Password"}

TOML, or JSON where the name of the file ends so. A secret may stand in the file itself, if
nobody but its owner can read it. NAME that is not in the file is a storage of the site's.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from efss_transfer.contract import storage_types
from efss_transfer.contract.schemas import schema

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_MEMBERS: Final = frozenset(("type", "storage", "path", "parameters"))
_LONGEST: Final = 65_536


class InvalidEndpoints(Exception):
    """The file, or what was asked of it, cannot be used. Its text never holds a value."""


class UserEndpoints:
    """Endpoints by their names. `prompt` asks a person for a secret."""

    def __init__(
        self, file: Path | None, found: Mapping[str, Any], prompt: Callable[[str], str]
    ) -> None:
        self._file = file
        self._found = found
        self._prompt = prompt
        self._kept: dict[tuple[str, object], str] = {}

    def names(self) -> list[str]:
        """Those of the file."""
        return sorted(self._found)

    def endpoint(self, text: str) -> dict[str, Any]:
        """The endpoint of a request that `NAME:PATH` means. Raises InvalidEndpoints."""
        name, colon, path = text.partition(":")
        if not colon or not _NAME.fullmatch(name):
            raise InvalidEndpoints(
                "An endpoint is NAME:PATH, where NAME stands in your endpoints file, or is a "
                "storage of the site's."
            )
        if name not in self._found:
            return {"storage": name, "path": path}
        described = dict(self._found[name])
        base = str(described.get("path", ""))
        if base and path:
            path = f"{base.rstrip('/')}/{path.lstrip('/')}"
        given = described.get("parameters", {})
        parameters = {member: self._value(name, member, value) for member, value in given.items()}
        if "storage" in described:
            end: dict[str, Any] = {"storage": described["storage"], "path": path or base}
            return {**end, "parameters": parameters} if parameters else end
        return {"type": described["type"], "parameters": parameters, "path": path or base}

    def _value(self, name: str, member: str, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        ((kind, where),) = value.items()
        # A descriptor can be read once, and nobody likes to be asked twice.
        key = (kind, where if kind != "prompt" else (name, member))
        if key not in self._kept:
            self._kept[key] = self._asked(f"{name}.parameters.{member}", kind, where)
        return self._kept[key]

    def _asked(self, what: str, kind: str, where: Any) -> str:
        match kind:
            case "env":
                secret = os.environ.get(where, "")
            case "file":
                secret = from_file(Path(where).expanduser())
            case "fd":
                secret = from_descriptor(where)
            case _:
                secret = self._prompt(where)
        if not secret:
            raise InvalidEndpoints(f"{what}: {kind} {where!r} is empty, or not there.")
        return secret


def default_file() -> Path:
    """Where the file is looked for, as the XDG Base Directory Specification has it."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "efss-transfer" / "endpoints.toml"


def read(file: Path | None, prompt: Callable[[str], str]) -> UserEndpoints:
    """The endpoints of a file; None for the usual one, which need not be there.

    Raises InvalidEndpoints.
    """
    wanted = file or default_file()
    if file is None and not wanted.exists():
        return UserEndpoints(None, {}, prompt)
    try:
        with wanted.open("rb") as opened:
            status = os.fstat(opened.fileno())
            content = opened.read()
        parse = json.loads if wanted.suffix == ".json" else tomllib.loads
        found = parse(content.decode("utf-8"))
    except OSError as error:
        raise InvalidEndpoints(f"{wanted} cannot be read ({error.strerror}).") from None
    except RecursionError:
        raise InvalidEndpoints(f"{wanted} is nested too deeply.") from None
    except json.JSONDecodeError as error:
        raise InvalidEndpoints(
            f"{wanted} is not JSON: see line {error.lineno}, column {error.colno}."
        ) from None
    except tomllib.TOMLDecodeError as error:
        # Its text may quote what stands in the line; where that is does not.
        at = re.search(r"\(at (line \d+, column \d+|end of document)\)", str(error))
        raise InvalidEndpoints(
            f"{wanted} is not TOML" + (f": see {at[1]}." if at else ".")
        ) from None
    except ValueError:
        raise InvalidEndpoints(f"{wanted} is not UTF-8.") from None
    secret = _checked(wanted, found)
    if secret is not None and stat.S_IMODE(status.st_mode) & 0o077:
        raise InvalidEndpoints(
            f"{wanted} holds a secret ({secret}) and others than its owner may read or change "
            f"it: chmod 600 {wanted}, or refer to the secret: "
            '{env = "NAME"}, {file = "PATH"}, {fd = 3} or {prompt = "Password"}.'
        )
    return UserEndpoints(wanted, found, prompt)


def from_file(file: Path) -> str:
    """A secret that stands in a file; empty if it cannot be read."""
    try:
        with file.open(encoding="utf-8") as opened:
            return _line(opened.read(_LONGEST))
    except (OSError, UnicodeDecodeError):
        return ""


def from_descriptor(number: int) -> str:
    """A secret that stands in an open file or pipe; empty if it cannot be read."""
    try:
        with os.fdopen(number, encoding="utf-8", closefd=False) as opened:
            return _line(opened.read(_LONGEST))
    except (OSError, UnicodeDecodeError):
        return ""


def _line(text: str) -> str:
    """Without the line end that editors put there."""
    return text.removesuffix("\n").removesuffix("\r")


def _checked(file: Path, found: Any) -> str | None:
    """The first secret that stands in the file itself, if any. Raises InvalidEndpoints."""

    def wrong(where: str, why: str) -> InvalidEndpoints:
        return InvalidEndpoints(f"{file}: {where}: {why}")

    if not isinstance(found, Mapping):
        raise wrong("the whole", "must have a table for each endpoint.")
    secret = None
    types = schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"]
    for name, described in found.items():
        if not _NAME.fullmatch(name):
            raise wrong("the name of an endpoint", "letters, digits, `.`, `_` and `-` only.")
        if not isinstance(described, Mapping):
            raise wrong(name, "must be a table, with `type` and `parameters`.")
        if unknown := sorted(described.keys() - _MEMBERS):
            raise wrong(name, f"there is no member {unknown[0]!r}.")
        if ("type" in described) == ("storage" in described):
            raise wrong(name, "needs a `type`, or else a `storage` of the site's.")
        if "type" in described and described["type"] not in types:
            raise wrong(f"{name}.type", "there is no such type of storage.")
        for member in ("storage", "path"):
            if not isinstance(described.get(member, ""), str):
                raise wrong(f"{name}.{member}", "must be a text.")
        parameters = described.get("parameters", {})
        if not isinstance(parameters, Mapping):
            raise wrong(f"{name}.parameters", "must be a table.")
        secrets = _secrets(described.get("type"), types)
        for member, value in parameters.items():
            where = f"{name}.parameters.{member}"
            if isinstance(value, Mapping):
                if (reason := _wrong_reference(value)) is not None:
                    raise wrong(where, reason)
            elif not isinstance(value, str | int | float | bool):
                raise wrong(where, "must be a text, a number, a boolean or a reference.")
            elif member in secrets:
                secret = secret or where
    return secret


def _secrets(kind: str | None, types: list[str]) -> frozenset[str]:
    """The parameters that are secrets: of a type, or of any where the type is the site's."""
    kinds = types if kind is None else [kind]
    return frozenset().union(*map(storage_types.secret_parameters, kinds))


def _wrong_reference(value: Mapping[str, Any]) -> str | None:
    if len(value) != 1 or not value.keys() <= {"env", "file", "fd", "prompt"}:
        return 'a reference is {env = "NAME"}, {file = "PATH"}, {fd = 3} or {prompt = "TEXT"}.'
    ((kind, where),) = value.items()
    if kind == "fd":
        if isinstance(where, bool) or not isinstance(where, int) or not 0 <= where < 1 << 31:
            return "`fd` is the number of an open descriptor."
    elif not isinstance(where, str) or not where:
        return f"`{kind}` must be a text."
    return None
