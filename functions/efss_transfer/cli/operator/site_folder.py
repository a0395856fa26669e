"""Writes the files of a site: nothing is overwritten by accident, and secrets are for their owner.

A file appears whole or not at all, with its mode from the start.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click

from efss_transfer.cli.operator import deploy_files
from efss_transfer.cli.operator.answers import SiteAnswers
from efss_transfer.model.errors import InvalidSite
from efss_transfer.site import site_file
from efss_transfer.site.site_file import Site

SITE: Final = "site.json"
ENVIRONMENT: Final = "environment"
CREDENTIALS: Final = "credentials"
TOKENS: Final = "tokens"
FIXED: Final = (
    SITE,
    ENVIRONMENT,
    deploy_files.SERVICE,
    deploy_files.SOCKET,
    deploy_files.NGINX,
)
_PRIVATE: Final = 0o600
_PUBLIC: Final = 0o644
_FOLDER: Final = 0o700


@dataclass(frozen=True)
class SiteFile:
    """A file below the site's folder. With `keep`, one that is there and not empty stays."""

    path: str
    text: str
    mode: int = _PRIVATE
    keep: bool = False


def files_of(answers: SiteAnswers, folder: Path) -> list[SiteFile]:
    """All files of a site, with the tokens and the secrets."""
    document = json.dumps(answers.site(), indent=2, ensure_ascii=False)
    return [
        SiteFile(SITE, document + "\n"),
        SiteFile(ENVIRONMENT, _environment(answers)),
        SiteFile(deploy_files.SERVICE, deploy_files.service(answers, folder), _PUBLIC),
        SiteFile(deploy_files.SOCKET, deploy_files.listening_socket(answers), _PUBLIC),
        SiteFile(deploy_files.NGINX, deploy_files.nginx(answers), _PUBLIC),
        *(SiteFile(f"{TOKENS}/{caller}", f"{token}\n") for caller, token in answers.tokens.items()),
        *(
            SiteFile(f"{CREDENTIALS}/{it.credential(name)}", value and f"{value}\n", keep=not value)
            for it in answers.storages
            for name, value in it.secrets.items()
        ),
    ]


def check(files: Iterable[SiteFile]) -> Site:
    """Check the site file before anything is written. Raises ClickException."""
    with TemporaryDirectory(prefix="efss-transfer-init-") as name:
        folder = Path(name)
        (folder / CREDENTIALS).mkdir(mode=_FOLDER)
        for it in files:
            if it.path == SITE or it.path.startswith(CREDENTIALS):
                _write(folder / it.path, it)
        try:
            return site_file.read(
                folder / SITE, credentials=folder / CREDENTIALS, may_lack_secrets=True
            )
        except InvalidSite as error:
            mistakes = [it for it in error.violations if it.keyword != "secret"]
            lines = [f"  {it.pointer}: {it.message}" for it in mistakes]
            raise click.ClickException(
                "\n".join(["The site file would not be valid. Nothing was written.", *lines])
            ) from None


def refuse_existing(folder: Path, paths: Iterable[str]) -> None:
    """Raise ClickException if a file is already there."""
    found = [str(folder / path) for path in paths if os.path.lexists(folder / path)]
    if found:
        raise click.ClickException(
            "\n".join(
                [
                    "These files exist. Give another folder, or --force to replace them:",
                    *(f"  {path}" for path in found),
                ]
            )
        )


def write(folder: Path, files: Iterable[SiteFile]) -> None:
    """Write the files. Raises ClickException if the machine refuses."""
    try:
        for name in ("", CREDENTIALS, TOKENS):
            (folder / name).mkdir(mode=_FOLDER, parents=True, exist_ok=True)
        for it in files:
            file = folder / it.path
            if not (it.keep and file.is_file() and file.stat().st_size):
                _write(file, it)
    except OSError as error:
        raise click.ClickException(
            f"{error.filename or folder} cannot be written ({error.strerror})."
        ) from None


def _write(file: Path, it: SiteFile) -> None:
    new = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        with os.fdopen(os.open(new, flags, _PRIVATE), "w", encoding="utf-8") as opened:
            opened.write(it.text)
            os.fchmod(opened.fileno(), it.mode)
        new.replace(file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _environment(answers: SiteAnswers) -> str:
    return f"""\
# Settings of {answers.name}, a line NAME=value each. systemd reads this file when it starts the
# service: after a change, `systemctl restart efss-transfer`. docs/reference/settings.md has all.

# json writes one JSON object a line, for a log collector; text is for people.
EFSS_TRANSFER_LOG_FORMAT=json

# One of DEBUG, INFO, WARNING, ERROR. INFO has a line for the start and the end of each transfer.
EFSS_TRANSFER_LOG_LEVEL=INFO

# How much memory one rclone may take, in bytes. All of them together take that times
# {answers.concurrent}, the concurrent transfers that {SITE} allows.
#EFSS_TRANSFER_MEMORY_BYTES=2147483648

# 1 keeps one rclone ready for the next transfer, which then begins sooner; it takes 64 MiB.
#EFSS_TRANSFER_STANDBY=1
"""
