"""The user's endpoints file, and the endpoints that `NAME:PATH` refers to.

    [cloud]                                 the name of the endpoint
    type = "webdav"                         or `storage = "archive"`: one of the site file
    path = "Measurements"                   the base of PATH; default: the root
    [cloud.parameters]
    url = "https://cloud.example.org/remote.php/dav/files/alice"
    vendor = "nextcloud"
    user = "alice"
    pass = {env = "CLOUD_PASSWORD"}         or {file = "~/.cloud"}, {command = "pass show cloud"},
                                            {fd = 3}, {prompt = "Password"}

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

from efss_transfer.cli.inputs import secret_from_command, secret_from_descriptor, secret_from_file
from efss_transfer.contract import storage_types
from efss_transfer.contract.schemas import schema
from efss_transfer.model.suggestions import did_you_mean

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_MEMBERS: Final = frozenset(("type", "storage", "path", "parameters"))
_KINDS: Final = frozenset(("env", "file", "command", "fd", "prompt"))
_REFERENCES: Final = (
    '{env = "NAME"}, {file = "PATH"}, {command = "WORDS"}, {fd = 3} or {prompt = "TEXT"}'
)


class InvalidEndpoints(Exception):
    """The file, or NAME:PATH, is invalid. The text never quotes a value of the file."""


class UserEndpoints:
    """Endpoints by their names. `prompt` asks the user for a secret."""

    def __init__(self, endpoints: Mapping[str, Any], prompt: Callable[[str], str]) -> None:
        self._endpoints = endpoints
        self._prompt = prompt
        self._secrets: dict[tuple[str, object], str] = {}

    def names(self) -> list[str]:
        """Return the names in the file."""
        return sorted(self._endpoints)

    @property
    def entries(self) -> Mapping[str, Mapping[str, Any]]:
        """The file's tables by name, with references in place of the secrets."""
        return self._endpoints

    def endpoint(self, text: str) -> dict[str, Any]:
        """Return the request's endpoint for `NAME:PATH`. Raises InvalidEndpoints."""
        name, colon, path = text.partition(":")
        if not colon or not NAME.fullmatch(name):
            if _is_local(text):
                raise InvalidEndpoints(
                    f"{text!r} is a path on this machine, which the service cannot read; an "
                    "endpoint must be NAME:PATH. Copy it with rclone or the sync client of your "
                    "cloud; or serve its folder by WebDAV or SFTP, and add that server to your "
                    "endpoints file."
                )
            raise InvalidEndpoints(self._without_path(text))
        if name not in self._endpoints:
            return {"storage": name, "path": path}
        entry = self._endpoints[name]
        base = str(entry.get("path", ""))
        if base and path:
            path = f"{base.rstrip('/')}/{path.lstrip('/')}"
        parameters = {
            parameter: self._value(name, parameter, value)
            for parameter, value in entry.get("parameters", {}).items()
        }
        if "storage" in entry:
            endpoint: dict[str, Any] = {"storage": entry["storage"], "path": path or base}
            return {**endpoint, "parameters": parameters} if parameters else endpoint
        return {"type": entry["type"], "parameters": parameters, "path": path or base}

    def hints(self, *texts: str) -> list[str]:
        """Return a hint for each `NAME:PATH` whose name is not in the file."""
        names = dict.fromkeys(text.partition(":")[0] for text in texts)
        unknown = {
            name: did_you_mean(name, self._endpoints)
            for name in names
            if name not in self._endpoints
        }
        # The others may be storages of the site.
        slips = {name: meant for name, meant in unknown.items() if meant}
        shown = slips or dict.fromkeys(unknown, " See efss-transfer endpoints list.")
        return [f"{name!r} is not in your endpoints file.{more}" for name, more in shown.items()]

    def _without_path(self, text: str) -> str:
        """Return what is wrong with a text that is no NAME:PATH."""
        if not NAME.fullmatch(text):
            return (
                "An endpoint must be NAME:PATH, where NAME is in your endpoints file, or is a "
                "storage of the service's site file."
            )
        meant = "" if text in self._endpoints else did_you_mean(text, self._endpoints)
        return (
            f"An endpoint must be NAME:PATH, and {text!r} has no path: write {text}: for all of "
            f"it, or {text}:FOLDER.{meant}"
        )

    def _value(self, name: str, parameter: str, value: Any) -> Any:
        """Return a parameter's value; for a reference, the secret that it refers to."""
        if not isinstance(value, Mapping):
            return value
        ((kind, reference),) = value.items()
        # Read once: a descriptor has no second read, and a user should be prompted once.
        key = (kind, reference if kind != "prompt" else (name, parameter))
        if key not in self._secrets:
            self._secrets[key] = self._resolve(f"{name}.parameters.{parameter}", kind, reference)
        return self._secrets[key]

    def _resolve(self, where: str, kind: str, reference: Any) -> str:
        match kind:
            case "env":
                secret = os.environ.get(reference, "")
            case "file":
                secret = secret_from_file(Path(reference).expanduser())
            case "command":
                secret = secret_from_command(reference)
            case "fd":
                secret = secret_from_descriptor(reference)
            case _:
                secret = self._prompt(reference)
        if not secret:
            wrong = (
                "failed, or printed nothing" if kind == "command" else "is empty or does not exist"
            )
            raise InvalidEndpoints(f"{where}: {kind} {reference!r} {wrong}.")
        return secret


def _is_local(text: str) -> bool:
    """Return whether a text that is no `NAME:PATH` is a path on this machine."""
    return text.startswith(("/", "./", "../", "~", "\\", "file:")) or (
        text != "" and Path(text).exists()
    )


def default_file() -> Path:
    """Return the default path, by the XDG Base Directory Specification."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "efss-transfer" / "endpoints.toml"


def read(file: Path | None, prompt: Callable[[str], str]) -> UserEndpoints:
    """Read an endpoints file; None for the default one, which may be missing.

    Raises InvalidEndpoints.
    """
    path = file or default_file()
    if file is None and not path.exists():
        return UserEndpoints({}, prompt)
    try:
        with path.open("rb") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            content = opened.read()
    except OSError as error:
        raise InvalidEndpoints(f"{path} cannot be read ({error.strerror}).") from None
    endpoints = _parse(path, content)
    try:
        secret = _check(endpoints)
    except _InvalidMember as error:
        raise InvalidEndpoints(f"{path}: {error}") from None
    if secret is not None and mode & 0o077:
        raise InvalidEndpoints(
            f"{path} contains a secret ({secret}), but other users can read or change the file. "
            f"Run chmod 600 {path}, or refer to the secret: {_REFERENCES}."
        )
    if mode & 0o022 and _has_command(endpoints):
        raise InvalidEndpoints(
            f"{path} names a command that prints a secret, but other users can change the file, "
            f"and so what this command runs. Run chmod go-w {path}."
        )
    return UserEndpoints(endpoints, prompt)


def _has_command(endpoints: Mapping[str, Any]) -> bool:
    return any(
        isinstance(value, Mapping) and "command" in value
        for entry in endpoints.values()
        for value in entry.get("parameters", {}).values()
    )


def _parse(file: Path, content: bytes) -> Any:
    parse = json.loads if file.suffix == ".json" else tomllib.loads
    try:
        return parse(content.decode("utf-8"))
    except RecursionError:
        raise InvalidEndpoints(f"{file} is nested too deeply.") from None
    except json.JSONDecodeError as error:
        raise InvalidEndpoints(
            f"{file} is not JSON: see line {error.lineno}, column {error.colno}."
        ) from None
    except tomllib.TOMLDecodeError as error:
        # The exception's text may quote the line; its position is safe.
        at = re.search(r"\(at (line \d+, column \d+|end of document)\)", str(error))
        position = f": see {at[1]}." if at else "."
        raise InvalidEndpoints(f"{file} is not TOML{position}") from None
    except ValueError:
        raise InvalidEndpoints(f"{file} is not UTF-8.") from None


class _InvalidMember(Exception):
    """A member of the file is invalid."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")


def _check(endpoints: Any) -> str | None:
    """Check the endpoints, and return the place of the first secret. Raises _InvalidMember."""
    if not isinstance(endpoints, Mapping):
        raise _InvalidMember("(entire file)", "must contain one table for each endpoint.")
    types: list[str] = schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"]
    first_secret = None
    for name, entry in endpoints.items():
        # A name that is invalid is not quoted: it may be a secret in the wrong place.
        if not NAME.fullmatch(name):
            raise _InvalidMember(
                "endpoint name", "must consist of letters, digits, `.`, `_` and `-`."
            )
        _check_entry(name, entry, types)
        secret = _check_parameters(name, entry, types)
        first_secret = first_secret or secret
    return first_secret


def _check_entry(name: str, entry: Any, types: list[str]) -> None:
    """Check an endpoint without its parameters. Raises _InvalidMember."""
    if not isinstance(entry, Mapping):
        raise _InvalidMember(name, "must be a table, with `type` and `parameters`.")
    if unknown := sorted(entry.keys() - _MEMBERS):
        known = ", ".join(sorted(_MEMBERS))
        raise _InvalidMember(name, f"unknown member {unknown[0]!r}. Use {known}.")
    if ("type" in entry) == ("storage" in entry):
        raise _InvalidMember(name, "must have either `type` or `storage`.")
    if "type" in entry and entry["type"] not in types:
        raise _InvalidMember(f"{name}.type", f"unknown storage type. Use {', '.join(types)}.")
    for member in ("storage", "path"):
        if not isinstance(entry.get(member, ""), str):
            raise _InvalidMember(f"{name}.{member}", "must be a string.")


def _check_parameters(name: str, entry: Mapping[str, Any], types: list[str]) -> str | None:
    """Check an endpoint's parameters, and return the place of the first secret.

    Raises _InvalidMember.
    """
    parameters = entry.get("parameters", {})
    if not isinstance(parameters, Mapping):
        raise _InvalidMember(f"{name}.parameters", "must be a table.")
    secret_names = _secret_parameters(entry.get("type"), types)
    first_secret = None
    for parameter, value in parameters.items():
        where = f"{name}.parameters.{parameter}"
        if isinstance(value, Mapping):
            if (reason := _invalid_reference(value)) is not None:
                raise _InvalidMember(where, reason)
        elif not isinstance(value, str | int | float | bool):
            raise _InvalidMember(where, "must be a string, a number, a boolean or a reference.")
        elif parameter in secret_names:
            first_secret = first_secret or where
    return first_secret


def _secret_parameters(storage_type: str | None, types: list[str]) -> frozenset[str]:
    """Return the secret parameters of a type; of all types for a storage of the site file."""
    candidates = types if storage_type is None else [storage_type]
    return frozenset().union(*map(storage_types.secret_parameters, candidates))


def _invalid_reference(value: Mapping[str, Any]) -> str | None:
    """Return why a reference is invalid, or None."""
    if len(value) != 1 or not value.keys() <= _KINDS:
        return f"must be {_REFERENCES}."
    ((kind, reference),) = value.items()
    if kind == "fd":
        is_number = isinstance(reference, int) and not isinstance(reference, bool)
        if not is_number or not 0 <= reference < 1 << 31:
            return "`fd` must be the number of an open descriptor."
    elif not isinstance(reference, str) or not reference:
        return f"`{kind}` must be a string."
    return None
