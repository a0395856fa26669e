"""Secrets of the site's storages, which stand elsewhere than in the site file.

    {"env": "NAME"}                    a variable of the function's environment
    {"file": "/run/secrets/name"}      a file; a line end at its end is not part of it
    {"aws_secrets_manager": "id"}      a secret of AWS Secrets Manager, by name or ARN;
                                       with "key", a member of the JSON object that it is
    {"aws_ssm_parameter": "name"}      a parameter of AWS Systems Manager, decrypted

They are read when a request needs them and not at start: a platform may keep a snapshot of
what was started. What AWS gave is kept for five minutes, so that a new secret is used soon.
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

_KEPT_SECONDS: Final = 300
_LONGEST: Final = 65_536


class SecretReferences:
    """Reads secrets by reference. One instance serves all requests, from many threads."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, ...], tuple[float, str]] = {}
        self._lock = threading.Lock()

    def value(self, reference: Reference) -> str:
        """The secret. Raises ConfigurationError, which names the reference, never a value."""
        match reference:
            case {"env": name}:
                value = os.environ.get(name, "")
            case {"file": name}:
                value = _content(name)
            case {"aws_secrets_manager": name}:
                value = _member(self._from_aws("secretsmanager", name), reference)
            case {"aws_ssm_parameter": name}:
                value = self._from_aws("ssm", name)
            case _:
                raise ConfigurationError("A reference is of no kind that is known.")
        if not value:
            raise ConfigurationError(f"{describe(reference)} is empty or not there.")
        return value

    def _from_aws(self, service: str, name: str) -> str:
        # One at a time: twenty requests at once need one answer, and not twenty.
        with self._lock:
            known = self._kept.get((service, name))
            if known is not None and time.monotonic() < known[0]:
                return known[1]
            value = _asked_of_aws(service, name)
            self._kept[service, name] = (time.monotonic() + _KEPT_SECONDS, value)
            return value


def problem(reference: Reference) -> str | None:
    """What is wrong with a reference as far as can be told without asking anybody for it."""
    match reference:
        case {"env": name} if not os.environ.get(name):
            return f"The environment has no variable {name}."
        case {"file": name}:
            try:
                with Path(name).open("rb"):
                    return None
            except OSError as error:
                return f"The file cannot be read ({error.strerror})."
    return None


def describe(reference: Reference) -> str:
    """A reference for a message: where the secret stands, and nothing of it."""
    kind, name = next(iter(reference.items()))
    return f"The secret that is referred to by {kind} {name!r}"


def _content(name: str) -> str:
    try:
        with Path(name).open(encoding="utf-8") as file:
            return file.read(_LONGEST).removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError):
        return ""


def _member(text: str, reference: Reference) -> str:
    if "key" not in reference:
        return text
    try:
        members: Any = json.loads(text)
        return str(members[reference["key"]])
    except (ValueError, KeyError, TypeError):
        return ""


def _asked_of_aws(service: str, name: str) -> str:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise ConfigurationError(
            "References to AWS need the package boto3: pip install 'efss-transfer[aws]'."
        ) from None
    try:
        client: Any = boto3.client(
            service, config=Config(connect_timeout=5, read_timeout=5, retries={"max_attempts": 2})
        )
        if service == "ssm":
            answer = client.get_parameter(Name=name, WithDecryption=True)
            return str(answer["Parameter"]["Value"])
        return str(client.get_secret_value(SecretId=name).get("SecretString", ""))
    except (BotoCoreError, ClientError, KeyError) as error:
        # Its text may quote what was sent; its class says enough to look further.
        raise ConfigurationError(
            f"AWS did not give {service} {name!r} ({type(error).__name__})."
        ) from None
