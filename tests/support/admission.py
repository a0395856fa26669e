"""Requests between endpoints of each type, and their admission by a site's policy."""

from __future__ import annotations

import json
from typing import Any, ClassVar, cast

from efss_transfer.contract.request_parser import parse
from efss_transfer.engines.base import Engine
from efss_transfer.site import policy
from efss_transfer.site.policy import AdmittedRequest
from efss_transfer.site.site_file import Caller, Site
from efss_transfer.site.storages import Storages

NAMES: dict[str, list[str]] = {
    "inside.example.org": ["10.0.0.1"],
    "both.example.org": ["8.8.8.8", "127.0.0.1"],
    "metadata.example.org": ["::ffff:169.254.169.254"],
}

KEYS = {"access_key_id": "key", "secret_access_key": "secret"}
DAV = "https://cloud.example.org/remote.php/dav/files/alice"


def webdav(path: str = "", url: str = DAV, **more: Any) -> dict[str, Any]:
    return {"type": "webdav", "parameters": {"url": url, **more}, "path": path}


def s3(path: str = "", endpoint: str = "https://s3.example.org", **more: Any) -> dict[str, Any]:
    return {"type": "s3", "parameters": {"endpoint": endpoint, **KEYS, **more}, "path": path}


def aws(path: str, **parameters: Any) -> dict[str, Any]:
    return {"type": "s3", "parameters": {**KEYS, **parameters}, "path": path}


def sftp(path: str = "", **more: Any) -> dict[str, Any]:
    parameters = {"host": "files.example.org", "user": "alice", "pass": "secret", **more}
    return {"type": "sftp", "parameters": parameters, "path": path}


def ftp(path: str = "", **more: Any) -> dict[str, Any]:
    return {**sftp(path, **more), "type": "ftp"}


def smb(path: str = "share", **more: Any) -> dict[str, Any]:
    parameters = {"host": "smb.example.org", "user": "alice", "pass": "secret", **more}
    return {"type": "smb", "parameters": parameters, "path": path}


def gcs(path: str = "", **more: Any) -> dict[str, Any]:
    parameters = {"anonymous": True, **more}
    return {"type": "google cloud storage", "parameters": parameters, "path": path}


class OnPaper:
    """As much of an engine as the policy asks for."""

    name = "rclone"
    unguarded: ClassVar[dict[str, str | None]] = {"smb": "host", "hdfs": None}
    is_third_party = False
    can_detach = False


def admit(
    source: dict[str, Any],
    destination: dict[str, Any],
    site: Site | None = None,
    caller: Caller | None = None,
    **members: Any,
) -> AdmittedRequest:
    """What the service does with a request before it starts anything."""
    site, caller = site or Site(), caller or Caller()
    storages = Storages(site)
    asked = parse(
        json.dumps({"source": source, "destination": destination, **members}).encode(),
        lambda side, document: storages.endpoint(caller, side, document),
    )
    return policy.admit(asked, site, caller, cast(Engine, OnPaper()))


def check(source: dict[str, Any], destination: dict[str, Any]) -> None:
    admit(source, destination)
