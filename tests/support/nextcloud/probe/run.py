"""All questions in their order, and the observations as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from support.nextcloud.probe import admission, names_and_writes, namespace, transfers
from support.nextcloud.probe.client import Answer, Client, Site
from support.nextcloud.probe.names_and_writes import Observations

SECTIONS: Final[dict[str, Callable[[Client], Observations]]] = {
    "names": names_and_writes.names,
    "puts": names_and_writes.puts,
    "times": names_and_writes.times,
    "etags": names_and_writes.etags,
    "checksums": names_and_writes.checksums,
    "folders": namespace.folders,
    "moves": namespace.moves,
    "propfinds": namespace.propfinds,
    "gets": namespace.gets,
    "addresses": namespace.addresses,
    "uploads": transfers.uploads,
    "bulk": transfers.bulk,
    "quota": transfers.quota,
    "in_progress": transfers.in_progress,
    "races": transfers.races,
    "sign_in": admission.sign_in,
    "links": admission.links,
    "shut": admission.shut,
}


def _plain(value: object) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Answer):
        return str(value)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    return json.loads(json.dumps(value))


def observe(site: Site, section: str) -> dict[str, Any]:
    """Ask the questions of a section in a folder of the account, which is emptied before."""
    ask = Client(site)
    ask("DELETE", "")
    assert ask("MKCOL", "").status == 201
    return {name: _plain(value) for name, value in SECTIONS[section](ask)}
