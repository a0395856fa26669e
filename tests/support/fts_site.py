"""A service with an FTS server's stand-in, and two storages that copy between themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests

from support import third_party_dav
from support.faulty_webdav import Faulty
from support.fts_server import FtsServer
from support.service_process import Function

TOKEN = "canary-token-for-fts"
SOURCE_TOKEN = "canary-token-for-source"
DESTINATION_TOKEN = "canary-token-for-destination"


@dataclass
class FtsSite:
    """A service and what it uses."""

    function: Function
    fts: FtsServer
    source: Faulty
    destination: Faulty

    def body(self, **members: Any) -> dict[str, Any]:
        """A request; other members than these are options."""
        named: dict[str, Any] = {}
        for name in ("selection", "fts"):
            if name in members:
                named[name] = members.pop(name)
        return {
            "engine": "fts",
            "source": _endpoint(self.source, "data", SOURCE_TOKEN),
            "destination": _endpoint(self.destination, "to", DESTINATION_TOKEN),
            "options": {"attempts": 1, **members},
            **named,
        }

    def copy(self, **members: Any) -> requests.Response:
        """Copy; other members than `selection` and `fts` are options."""
        return self.function.post(self.body(**members))


def empty(dav: Faulty) -> None:
    """Let a storage be as at its start."""
    dav.heal()
    dav.files.clear()
    dav.folders.clear()
    dav.folders.add("")
    dav.digest_of = third_party_dav.adler32
    dav.copier = third_party_dav.pulls(dav)


def _endpoint(dav: Faulty, path: str, token: str) -> dict[str, Any]:
    parameters = {"url": dav.url, "vendor": "other", "bearer_token": token}
    return {"type": "webdav", "parameters": parameters, "path": path}
