"""The user's endpoints file, and the endpoints that `NAME:PATH` refers to.

    [cloud]                                 the name of the endpoint
    type = "webdav"                         or `storage = "archive"`: one of the site file
    path = "Measurements"                   the base of PATH; default: the root
    [cloud.parameters]
    url = "https://cloud.example.org/remote.php/dav/files/alice"
    vendor = "nextcloud"
    user = "alice"
    pass = {env = "CLOUD_PASSWORD"}         or {file = "~/.cloud"}, {fd = 3}, {prompt = "Password"}

TOML, or JSON if the file name ends in .json. The file may contain secrets only if nobody but
its owner can read it. A NAME that is not in the file is a storage of the site file.
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
    """The file, or NAME:PATH, is invalid. The text never quotes a value of the file."""


class UserEndpoints:
    """Endpoints by their names. `prompt` asks the user for a secret."""

    def __init__(
        self, file: Path | None, found: Mapping[str, Any], prompt: Callable[[str], str]
    ) -> None:
        self._file = file
        self._found = found
        self._prompt = prompt
        self._secrets: dict[tuple[str, object], str] = {}

    def names(self) -> list[str]:
        """Return the names in the file."""
        return sorted(self._found)

    def endpoint(self, text: str) -> dict[str, Any]:
        """Return the request's endpoint for `NAME:PATH`. Raises InvalidEndpoints."""
        name, colon, path = text.partition(":")
        if not colon or not _NAME.fullmatch(name):
            raise InvalidEndpoints(
                "An endpoint must be NAME:PATH, where NAME is in your endpoints file, or is a "
                "storage of the service's site file."
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
        # Read once: a descriptor has no second read, and a user should be prompted once.
        key = (kind, where if kind != "prompt" else (name, member))
        if key not in self._secrets:
            self._secrets[key] = self._resolve(f"{name}.parameters.{member}", kind, where)
        return self._secrets[key]

    def _resolve(self, member: str, kind: str, where: Any) -> str:
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
            raise InvalidEndpoints(f"{member}: {kind} {where!r} is empty or does not exist.")
        return secret


def default_file() -> Path:
    """Return the default path, by the XDG Base Directory Specification."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "efss-transfer" / "endpoints.toml"


def read(file: Path | None, prompt: Callable[[str], str]) -> UserEndpoints:
    """Read an endpoints file; None for the default one, which may be missing.

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
        # The exception's text may quote the line; its position is safe.
        at = re.search(r"\(at (line \d+, column \d+|end of document)\)", str(error))
        raise InvalidEndpoints(
            f"{wanted} is not TOML" + (f": see {at[1]}." if at else ".")
        ) from None
    except ValueError:
        raise InvalidEndpoints(f"{wanted} is not UTF-8.") from None
    secret = _checked(wanted, found)
    if secret is not None and stat.S_IMODE(status.st_mode) & 0o077:
        raise InvalidEndpoints(
            f"{wanted} contains a secret ({secret}), but other users can read or change the "
            f"file. Run chmod 600 {wanted}, or refer to the secret: "
            '{env = "NAME"}, {file = "PATH"}, {fd = 3} or {prompt = "Password"}.'
        )
    return UserEndpoints(wanted, found, prompt)


def from_file(file: Path) -> str:
    """Read a secret from a file; empty if it cannot be read."""
    try:
        with file.open(encoding="utf-8") as opened:
            return _line(opened.read(_LONGEST))
    except (OSError, UnicodeDecodeError):
        return ""


def from_descriptor(number: int) -> str:
    """Read a secret from an open file or pipe; empty if it cannot be read."""
    try:
        with os.fdopen(number, encoding="utf-8", closefd=False) as opened:
            return _line(opened.read(_LONGEST))
    except (OSError, UnicodeDecodeError):
        return ""


def _line(text: str) -> str:
    """Remove the line end that editors add."""
    return text.removesuffix("\n").removesuffix("\r")


def _checked(file: Path, found: Any) -> str | None:
    """Check the file, and return the place of its first secret. Raises InvalidEndpoints."""

    def wrong(where: str, why: str) -> InvalidEndpoints:
        return InvalidEndpoints(f"{file}: {where}: {why}")

    if not isinstance(found, Mapping):
        raise wrong("(entire file)", "must contain one table for each endpoint.")
    secret = None
    types = schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"]
    for name, described in found.items():
        if not _NAME.fullmatch(name):
            raise wrong("endpoint name", "must consist of letters, digits, `.`, `_` and `-`.")
        if not isinstance(described, Mapping):
            raise wrong(name, "must be a table, with `type` and `parameters`.")
        if unknown := sorted(described.keys() - _MEMBERS):
            raise wrong(name, f"unknown member {unknown[0]!r}.")
        if ("type" in described) == ("storage" in described):
            raise wrong(name, "must have either `type` or `storage`.")
        if "type" in described and described["type"] not in types:
            raise wrong(f"{name}.type", "unknown storage type.")
        for member in ("storage", "path"):
            if not isinstance(described.get(member, ""), str):
                raise wrong(f"{name}.{member}", "must be a string.")
        parameters = described.get("parameters", {})
        if not isinstance(parameters, Mapping):
            raise wrong(f"{name}.parameters", "must be a table.")
        secrets = _secrets(described.get("type"), types)
        for member, value in parameters.items():
            where = f"{name}.parameters.{member}"
            if (reason := _wrong_value(value)) is not None:
                raise wrong(where, reason)
            if member in secrets and not isinstance(value, Mapping):
                secret = secret or where
    return secret


def _wrong_value(value: Any) -> str | None:
    if isinstance(value, Mapping):
        return _wrong_reference(value)
    if not isinstance(value, str | int | float | bool):
        return "must be a string, a number, a boolean or a reference."
    return None


def _secrets(kind: str | None, types: list[str]) -> frozenset[str]:
    """Return the secret parameters of a type; of all types for a storage of the site file."""
    kinds = types if kind is None else [kind]
    return frozenset().union(*map(storage_types.secret_parameters, kinds))


def _wrong_reference(value: Mapping[str, Any]) -> str | None:
    if len(value) != 1 or not value.keys() <= {"env", "file", "fd", "prompt"}:
        return 'must be {env = "NAME"}, {file = "PATH"}, {fd = 3} or {prompt = "TEXT"}.'
    ((kind, where),) = value.items()
    if kind == "fd":
        if isinstance(where, bool) or not isinstance(where, int) or not 0 <= where < 1 << 31:
            return "`fd` must be the number of an open descriptor."
    elif not isinstance(where, str) or not where:
        return f"`{kind}` must be a string."
    return None
