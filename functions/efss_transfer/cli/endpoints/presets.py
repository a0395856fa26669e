"""Kinds of storage that `endpoints add` offers, and what it asks of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from efss_transfer.contract import storage_types
from efss_transfer.contract.schemas import schema
from efss_transfer.model.suggestions import did_you_mean

PATH: Final = "path"
"""The question about the folder, which is no parameter."""

LINK: Final = "public link"
"""Known in place of a user where the address is that of a public link."""


class UnknownKind(Exception):
    """No preset and no storage type has this name."""


@dataclass(frozen=True, eq=False)
class Question:
    """A parameter to ask for.

    It is left out if one of `unless` is known, or none of `needs`. An empty answer is accepted
    where `is_required` is false, and sets `if_empty`. `is_file` asks for a file that has the value.
    """

    parameter: str
    text: str
    is_required: bool = True
    unless: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    if_empty: Mapping[str, Any] = field(default_factory=dict)
    is_file: bool = False


@dataclass(frozen=True)
class Preset:
    """A kind of storage: its type, the parameters that are the same for all, and questions.

    `address` is the parameter that `--address` sets, `secret` the one that a secret without a name
    is for. `app_passwords` is the page below the site's address at which app passwords are made.
    """

    name: str
    title: str
    type: str
    questions: tuple[Question, ...]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    address: str | None = None
    secret: str | None = None
    app_passwords: str | None = None


_SIGN_IN: Final = ("bearer_token", "token_source", "token_endpoint")
_FOLDER: Final = Question(PATH, "Folder to begin in (empty for all)", is_required=False)


def _efss(name: str, title: str, vendor: str, app_passwords: str | None) -> Preset:
    return Preset(
        name,
        title,
        "webdav",
        (
            Question("url", "Address, as your browser shows it"),
            Question("user", "User name", unless=(*_SIGN_IN, LINK)),
            Question("pass", "App password", unless=(*_SIGN_IN, LINK)),
            Question(
                "pass", "Password of the link (empty for none)", is_required=False, needs=(LINK,)
            ),
            _FOLDER,
        ),
        {"vendor": vendor},
        "url",
        "pass",
        app_passwords,
    )


def _s3(name: str, title: str, provider: str) -> Preset:
    is_amazon = provider == "AWS"
    address = Question("endpoint", "Address of the service, such as https://s3.example.org")
    region = Question("region", "Region, such as eu-central-1")
    keys = (
        Question(
            "access_key_id",
            "Access key ID (empty for public data)",
            is_required=False,
            unless=("anonymous",),
            if_empty={"anonymous": True},
        ),
        Question("secret_access_key", "Secret access key", needs=("access_key_id",)),
        Question(PATH, "Bucket, or bucket/folder (empty for all buckets)", is_required=False),
    )
    return Preset(
        name,
        title,
        "s3",
        (region if is_amazon else address, *keys),
        {"provider": provider},
        "endpoint",
        "secret_access_key",
    )


PRESETS: Final = (
    _efss("nextcloud", "Nextcloud", "nextcloud", "/index.php/settings/user/security"),
    _efss("owncloud", "ownCloud", "owncloud", "/index.php/settings/personal?sectionid=security"),
    _efss("ocis", "ownCloud Infinite Scale or OpenCloud", "infinitescale", None),
    _s3("aws", "Amazon S3", "AWS"),
    _s3("ceph", "Ceph, by S3", "Ceph"),
    _s3("minio", "MinIO, by S3", "Minio"),
    _s3("s3", "another S3 service", "Other"),
    Preset(
        "sftp",
        "SFTP",
        "sftp",
        (
            Question("host", "Host, or host:port"),
            Question("user", "User name"),
            Question(
                "key_pem",
                "File with your private key, such as ~/.ssh/id_ed25519 (empty for a password)",
                is_required=False,
                unless=("pass",),
                is_file=True,
            ),
            Question(
                "key_file_pass",
                "Passphrase of the key (empty for none)",
                is_required=False,
                needs=("key_pem",),
            ),
            Question("pass", "Password", unless=("key_pem",)),
            Question(PATH, "Folder to begin in (empty for your home)", is_required=False),
        ),
        address="host",
        secret="pass",  # noqa: S106 - a parameter's name
    ),
    Preset(
        "webdav",
        "another WebDAV server",
        "webdav",
        (
            Question("url", "WebDAV address"),
            Question("user", "User name (empty for none)", is_required=False, unless=_SIGN_IN),
            Question("pass", "Password", unless=_SIGN_IN, needs=("user",)),
            _FOLDER,
        ),
        {"vendor": "other"},
        "url",
        "pass",
    ),
)


def kinds() -> list[str]:
    """Return the names of all kinds: presets first, then types without one."""
    types: list[str] = schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"]
    names = [preset.name for preset in PRESETS]
    return names + [name for name in types if name not in names]


def preset_of(kind: str) -> Preset:
    """Return the preset of a kind; of a storage type, what its schema says. Raises UnknownKind."""
    folded = kind.strip().lower()
    for preset in PRESETS:
        if folded in (preset.name, preset.title.lower()):
            return preset
    if folded == "opencloud":
        return preset_of("ocis")
    if folded not in kinds():
        meant = did_you_mean(folded, kinds())
        names = ", ".join(preset.name for preset in PRESETS)
        raise UnknownKind(
            f"No kind of storage has this name.{meant} Use {names}, or another storage type."
        )
    targets = [*storage_types.target_parameters(folded)]
    secrets = [name for name in _needed(folded) if name in storage_types.secret_parameters(folded)]
    return Preset(
        folded,
        folded,
        folded,
        tuple(_of_schema(folded)),
        address=targets[0] if targets else None,
        secret=secrets[0] if secrets else None,
    )


def _of_schema(storage_type: str) -> Iterator[Question]:
    described = storage_types.parameters(storage_type)
    for name in _needed(storage_type):
        text = str(described[name].get("title", name))
        yield Question(name, text)
    yield Question(PATH, "Folder to begin in (empty for all)", is_required=False)


def _needed(storage_type: str) -> list[str]:
    """Return the parameters that a type cannot do without; of alternatives, the first."""
    whole: Any = schema("request")
    for part in storage_types.schema_pointer(storage_type).strip("/").split("/"):
        whole = whole[part]
    alternatives = whole.get("anyOf", [{"required": []}])
    needed = [*whole.get("required", ()), *alternatives[0].get("required", ())]
    return list(dict.fromkeys(needed))
