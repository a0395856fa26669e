"""What `init` needs to know about a site, and the site file that follows from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click

from efss_transfer.contract import storage_types
from efss_transfer.model.result import Json

SECRETS_FOLDER: Final = "/run/credentials/efss-transfer.service"
"""Where systemd puts copies of the secrets, which only the running service can read."""

_HOST: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)*")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HTTPS: Final = 443
_LAST_PORT: Final = 65_535


@dataclass(frozen=True)
class Address:
    """The public address of the gateway."""

    host: str
    port: int = _HTTPS

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse `https://transfer.example.org`, also without the scheme. Raises BadParameter."""
        text = text.strip()
        try:
            parts = urlsplit(text if "://" in text else f"https://{text}")
            host, port = parts.hostname or "", parts.port or _HTTPS
        except ValueError:
            host, port, parts = "", 0, urlsplit("")
        is_number = not re.search(r"[A-Za-z]", host)
        if parts.scheme != "https" or not _HOST.fullmatch(host) or is_number:
            raise click.BadParameter(
                f"{text!r} is not an https address with a host name, such as "
                "https://transfer.example.org."
            )
        if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
            raise click.BadParameter("The service has the host for itself: give no path or user.")
        return cls(host, port)

    @property
    def url(self) -> str:
        """The address as callers write it."""
        return f"https://{self.host}" + ("" if self.port == _HTTPS else f":{self.port}")


@dataclass(frozen=True)
class StorageAnswers:
    """A storage of the site. `secrets` has values by parameter; an empty one is still to come."""

    name: str
    type: str
    parameters: Mapping[str, Json] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    more: Mapping[str, Json] = field(default_factory=dict)

    def credential(self, parameter: str) -> str:
        """The name of the file with a secret."""
        return f"{self.name}.{parameter}"

    def to_json(self) -> dict[str, Json]:
        """The storage in the site file, with references in place of secrets."""
        references = {
            name: {"file": f"{SECRETS_FOLDER}/{self.credential(name)}"} for name in self.secrets
        }
        return {"type": self.type, "parameters": {**self.parameters, **references}, **self.more}


@dataclass(frozen=True)
class SiteAnswers:
    """Everything that `init` asks for. `tokens` has a token for each caller."""

    name: str
    address: Address
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    hashes: Mapping[str, str] = field(default_factory=dict)
    issuer: str | None = None
    audience: str = "efss-transfer"
    storages: tuple[StorageAnswers, ...] = ()
    hosts: tuple[str, ...] = ()
    concurrent: int = 8
    seconds: int = 3600
    certificate: Path = Path("/etc/ssl/efss-transfer/fullchain.pem")
    certificate_key: Path = Path("/etc/ssl/efss-transfer/privkey.pem")

    def site(self) -> dict[str, Json]:
        """The document of the site file."""
        document: dict[str, Any] = {}
        if self.storages:
            document["storages"] = {it.name: it.to_json() for it in self.storages}
        if self.hosts:
            document["allow"] = {"hosts": list(self.hosts)}
        document["limits"] = {
            "concurrent_transfers": self.concurrent,
            "duration_seconds": self.seconds,
        }
        if self.issuer is None:
            document["authentication"] = {
                "mode": "tokens",
                "tokens": [
                    {"caller": caller, "sha256": sha256} for caller, sha256 in self.hashes.items()
                ],
            }
            document["callers"] = {caller: {} for caller in self.hashes}
        else:
            document["authentication"] = {
                "mode": "oidc",
                "issuer": self.issuer,
                "audience": [self.audience],
            }
        return document


def one_line(text: str) -> str:
    """Check the site's name, which stands in comments. Raises BadParameter."""
    text = text.strip()
    if not text or not text.isprintable() or len(text) > 100:
        raise click.BadParameter("The name must be one line of at most 100 characters.")
    return text


def file_name(text: str) -> str:
    """Check a name that becomes the name of a file. Raises BadParameter."""
    if not _NAME.fullmatch(text):
        raise click.BadParameter(
            f"{text!r} is no name: use letters, digits, dots, hyphens and underscores."
        )
    return text


def usual_parameters(storage_type: str) -> dict[str, Any]:
    """The parameters that most storages of a type need, each with an example."""
    from efss_transfer.contract.schemas import schema

    definition = storage_types.schema_pointer(storage_type).rpartition("/")[2]
    examples = schema("request")["$defs"][definition].get("examples", [{}])
    return dict(examples[0])
