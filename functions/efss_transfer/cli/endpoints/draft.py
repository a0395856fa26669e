"""An endpoint that is being made: what is known of it, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from efss_transfer.cli.endpoints import known_hosts
from efss_transfer.cli.endpoints.presets import LINK, PATH, Preset, Question
from efss_transfer.cli.inputs import secret_from_file
from efss_transfer.contract import addresses, storage_types, validation

_PUBLIC: Final = "/public.php/"
_PLACEHOLDER: Final = "x"  # in place of a secret that is not known here
_TRUE: Final = ("true", "yes", "1")
_FALSE: Final = ("false", "no", "0")


class Invalid(Exception):
    """A value is invalid. The text does not quote it."""


class Draft:
    """The parameters and the folder of an endpoint.

    `secrets` are values to be kept in files of their own; `parameters` may refer to others.
    """

    def __init__(self, preset: Preset) -> None:
        self.preset = preset
        self.parameters: dict[str, Any] = dict(preset.parameters)
        self.secrets: dict[str, str] = {}
        self.path = ""
        self.suggested: dict[str, str] = {}
        """What the address says of other questions: its account, its bucket."""
        self._skipped: set[Question] = set()

    def set(self, parameter: str, text: str) -> None:
        """Set a parameter, or the folder, from a person's text. Raises Invalid."""
        if parameter == PATH:
            self.path = text.strip("/") if self.preset.type != "sftp" else text
            self._check_value(parameter, self.path)
            return
        if parameter not in self._described:
            raise Invalid(f"{self.preset.type} has no parameter {parameter!r}.")
        if parameter in self._secret_names:
            self._check_value(parameter, text)
            self.secrets[parameter] = text
            return
        value = self._typed(parameter, text)
        if parameter == self.preset.address:
            value = self._address(parameter, text.strip())
        self._check_value(parameter, value)
        self.parameters[parameter] = value

    def refer(self, parameter: str, kind: str, reference: str) -> None:
        """Let a parameter be read from elsewhere, whenever it is needed. Raises Invalid."""
        if parameter not in self._described:
            raise Invalid(f"{self.preset.type} has no parameter {parameter!r}.")
        if kind == "file" and not secret_from_file(Path(reference).expanduser()):
            raise Invalid(f"{reference} cannot be read, or is empty.")
        self.parameters[parameter] = {kind: reference}

    def skip(self, question: Question) -> None:
        """Take no answer for one."""
        self._skipped.add(question)
        self.parameters.update(question.if_empty)

    def is_secret(self, parameter: str) -> bool:
        """Return whether a parameter's value must not be shown."""
        return parameter in self._secret_names

    def open_questions(self) -> list[Question]:
        """Return the questions that are still to be asked, of what is known so far."""
        known = {*self.parameters, *self.secrets}
        if self._is_link:
            known.add(LINK)
        if self.path:
            known.add(PATH)
        return [
            question
            for question in self.preset.questions
            if question not in self._skipped
            and question.parameter not in known
            and not known.intersection(question.unless)
            and (not question.needs or known.intersection(question.needs))
        ]

    def finish(self) -> list[str]:
        """Derive what follows from the answers, and return what is wrong with the whole."""
        open_questions = {question.parameter for question in self.open_questions()}
        for parameter in open_questions & {"user"} & self.suggested.keys():
            self.parameters[parameter] = self.suggested[parameter]
        if self.preset.type == "webdav":
            self._finish_webdav()
        if self.preset.type == "sftp" and "host_keys" not in self.parameters:
            port = int(self.parameters.get("port", 22))
            if keys := known_hosts.keys_of(str(self.parameters.get("host", "")), port):
                self.parameters["host_keys"] = ",".join(keys)
        values = {
            name: _PLACEHOLDER if isinstance(value, Mapping) else value
            for name, value in self.parameters.items()
        }
        document = {"type": self.preset.type, "parameters": {**values, **self.secrets}}
        found, _ = validation.violations(
            "request", {**document, "path": self.path}, part="/$defs/endpoint"
        )
        named = [(it.pointer.rpartition("/")[2], it.message) for it in found]
        wrong = [
            f"{name or 'endpoint'}: {text}"
            for name, text in named
            if not isinstance(self.parameters.get(name), Mapping)
        ]
        if not wrong and self.preset.type == "webdav":
            wrong = [f"url: {text}" for text in (addresses.mistake(self.parameters),) if text]
        return wrong

    def app_passwords(self) -> str | None:
        """Return the address at which the person makes an app password, if it is known."""
        page, url = self.preset.app_passwords, self.parameters.get("url")
        if page is None or not isinstance(url, str) or self._is_link:
            return None
        meant = addresses.corrected(self.parameters) or url
        site, found, _ = meant.partition("/remote.php/")
        return site + page if found else None

    def _finish_webdav(self) -> None:
        if self.preset.parameters.get("vendor") == "other":
            return
        if self._is_link and "pass" in self.secrets:
            self.parameters.setdefault("user", "anonymous")
        if (meant := addresses.corrected(self.parameters)) is not None:
            self.parameters["url"] = meant

    @property
    def _is_link(self) -> bool:
        url = str(self.parameters.get("url", ""))
        return _PUBLIC in url or _PUBLIC in (addresses.corrected(self.parameters) or "")

    @property
    def _described(self) -> Mapping[str, Mapping[str, Any]]:
        return storage_types.parameters(self.preset.type)

    @property
    def _secret_names(self) -> frozenset[str]:
        return storage_types.secret_parameters(self.preset.type)

    def _typed(self, parameter: str, text: str) -> Any:
        """Return the value that the schema wants, where that is no text. Raises Invalid."""
        described = self._described[parameter]
        kind = described.get("type")
        is_port = str(described.get("$ref", "")).endswith("/port")
        if kind == "boolean":
            if text.lower() not in (*_TRUE, *_FALSE):
                raise Invalid("Must be true or false.")
            return text.lower() in _TRUE
        if (kind == "integer" or is_port) and text.isdecimal():
            return int(text)
        if kind == "array":
            return text.replace(",", " ").split()
        return text

    def _address(self, parameter: str, text: str) -> str:
        """Return the address that a person's text has, and keep what else is in it.

        Raises Invalid.
        """
        form = storage_types.target_parameters(self.preset.type).get(parameter)
        if form == "host":
            return self._host(text)
        if form == "url" and "://" not in text:
            text = f"https://{text}"
        try:
            parts = urlsplit(text)
        except ValueError:
            raise Invalid("Must be an address, such as https://cloud.example.org.") from None
        if form == "authority":
            bucket = unquote(parts.path.strip("/"))
            if bucket and "://" in text:
                self.suggested[PATH] = bucket
                return f"{parts.scheme}://{parts.netloc}"
            return text.rstrip("/")
        if form == "url":
            before, found, account = parts.path.partition("/dav/files/")
            if found and account and "public.php" not in before:
                self.suggested["user"] = unquote(account.split("/")[0])
        return parts._replace(query="", fragment="").geturl()

    def _host(self, text: str) -> str:
        """Return the host of `host`, `host:port` or `sftp://user@host:port`. Raises Invalid."""
        try:
            parts = urlsplit(text if "://" in text else f"//{text}")
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise Invalid("Must be a host, or host:port.") from None
        if port is not None and "port" in self._described:
            self.parameters["port"] = port
        if parts.username:
            self.suggested["user"] = unquote(parts.username)
        return host

    def _check_value(self, parameter: str, value: Any) -> None:
        pointer = f"{storage_types.schema_pointer(self.preset.type)}/properties/{parameter}"
        if parameter == PATH:
            pointer = "/$defs/endpoint/properties/path"
        found, _ = validation.violations("request", value, part=pointer)
        if found:
            raise Invalid(found[0].message)
