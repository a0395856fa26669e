"""Resolves references to secrets that are stored outside the site file.

    {"env": "NAME"}                    an environment variable of the function
    {"file": "/run/secrets/name"}      a file; one line end at its end is removed
    {"aws_secrets_manager": "id"}      a secret of AWS Secrets Manager, by name or ARN;
                                       with "key", a member of the JSON object in it
    {"aws_ssm_parameter": "name"}      a parameter of AWS Systems Manager, decrypted

A secret is read when a request needs it, not at start, because a platform may keep a snapshot
of the started function. Values from AWS are cached for five minutes, so that a rotated secret
is used soon.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from efss_transfer.model.errors import ConfigurationError

Reference = Mapping[str, str]

_CACHE_SECONDS: Final = 300
_SYSTEMD: Final = "/run/credentials/"
_MAX_CHARACTERS: Final = 65_536


class SecretResolver:
    """Resolves references to secrets. One instance serves all requests, from many threads."""

    def __init__(self) -> None:
        self._cache: dict[tuple[str, ...], tuple[float, str]] = {}
        self._lock = threading.Lock()

    def resolve(self, reference: Reference) -> str:
        """The secret. Raises ConfigurationError, which names the reference, never a value."""
        match reference:
            case {"env": name}:
                value = os.environ.get(name, "")
            case {"file": name}:
                value = _read_file(name)
            case {"aws_secrets_manager": name}:
                value = _select_key(self._from_aws("secretsmanager", name), reference)
            case {"aws_ssm_parameter": name}:
                value = self._from_aws("ssm", name)
            case _:
                raise ConfigurationError(
                    "A reference to a secret needs one of: env, file, aws_secrets_manager, "
                    "aws_ssm_parameter."
                )
        if not value:
            raise ConfigurationError(f"{describe(reference)} is empty or does not exist.")
        return value

    def _from_aws(self, service: str, name: str) -> str:
        # One call at a time: simultaneous requests share one response.
        with self._lock:
            cached = self._cache.get((service, name))
            if cached is not None and time.monotonic() < cached[0]:
                return cached[1]
            value = _fetch_from_aws(service, name)
            self._cache[service, name] = (time.monotonic() + _CACHE_SECONDS, value)
            return value


def check_reference(reference: Reference) -> str | None:
    """Why a reference cannot be resolved, as far as this machine can tell, or None."""
    match reference:
        case {"env": name} if not os.environ.get(name):
            return f"The environment variable {name} is not set."
        case {"file": name}:
            try:
                with Path(name).open("rb") as file:
                    return None if file.read(1) else f"The file {name} is empty."
            except OSError as error:
                return f"The file {name} cannot be read ({error.strerror})."
    return None


def relocate(document: Any, credentials: Path) -> Any:
    """A site file's document that refers to files in `credentials` in place of those that systemd
    will put into the service's credentials folder, where only the running service can read them.
    """
    match document:
        case {"file": str(name)} if len(document) == 1 and name.startswith(_SYSTEMD):
            return {"file": str(credentials / Path(name).name)}
        case dict():
            return {name: relocate(value, credentials) for name, value in document.items()}
    return document


def describe(reference: Reference) -> str:
    """A reference in a message: where the secret is, without its value."""
    kind, name = next(iter(reference.items()))
    return f"The secret from {kind} {name!r}"


def _read_file(name: str) -> str:
    try:
        with Path(name).open(encoding="utf-8") as file:
            return file.read(_MAX_CHARACTERS).removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError):
        return ""


def _select_key(text: str, reference: Reference) -> str:
    if "key" not in reference:
        return text
    try:
        members: Any = json.loads(text)
        return str(members[reference["key"]])
    except (ValueError, KeyError, TypeError):
        return ""


def _fetch_from_aws(service: str, name: str) -> str:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise ConfigurationError(
            "Secrets from AWS need the package boto3: pip install 'efss-transfer[aws]'."
        ) from None
    try:
        client: Any = boto3.client(
            service, config=Config(connect_timeout=5, read_timeout=5, retries={"max_attempts": 2})
        )
        if service == "ssm":
            response = client.get_parameter(Name=name, WithDecryption=True)
            return str(response["Parameter"]["Value"])
        return str(client.get_secret_value(SecretId=name).get("SecretString", ""))
    except (BotoCoreError, ClientError, KeyError) as error:
        # The error's text may quote what was sent; its class is enough to investigate.
        kind = "aws_ssm_parameter" if service == "ssm" else "aws_secrets_manager"
        raise ConfigurationError(
            f"AWS did not return the secret from {kind} {name!r} ({type(error).__name__})."
        ) from None
