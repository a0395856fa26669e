"""The ids of a request's jobs, which are made from what is to be copied and a number.

Nothing is kept here: a request that is sent again computes the same ids, and finds its jobs at the
FTS server. FTS makes the id of a job with a `sid` as the UUID (version 5) of the sid, in the
namespace of the caller's VO.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID, uuid5

from efss_transfer.model.request import TransferRequest

# FTS's own, which is the same at every server.
_BASE: Final = UUID("01874efb-4735-4595-bc9c-591aef8240c9")


class JobIds:
    """The ids of one request's jobs. `caller` is what the server says of the caller (/whoami)."""

    def __init__(self, request: TransferRequest, caller: Mapping[str, Any]) -> None:
        self._key = request_key(request)
        self._namespace = namespace(caller)

    def sid(self, number: int) -> str:
        """What a job is submitted with."""
        return f"efss-transfer-{self._key}-{number}"

    def job_id(self, number: int) -> str:
        """The id that the server gives to the job."""
        return str(uuid5(self._namespace, self.sid(number)))


def request_key(request: TransferRequest) -> str:
    """A hash of what is to be copied: both places and the selection, and no secret."""
    selection = request.selection
    what = {
        "source": [str(request.source.parameters.get("url", "")), request.source.path],
        "destination": [
            str(request.destination.parameters.get("url", "")),
            request.destination.path,
        ],
        "include": selection.include,
        "exclude": selection.exclude,
        "files": None if selection.files is None else sorted(it.path for it in selection.files),
        "sizes": [selection.min_size, selection.max_size],
        "times": [str(selection.modified_after), str(selection.modified_before)],
        "shard": None if selection.shard is None else str(selection.shard),
    }
    text = json.dumps(what, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def namespace(caller: Mapping[str, Any]) -> UUID:
    """The namespace of the caller's VO. Raises ValueError if the server names none."""
    ids, names = caller.get("vos_id"), caller.get("vos")
    if isinstance(ids, list) and ids and isinstance(ids[0], str):
        return UUID(ids[0])
    if isinstance(names, list) and names and isinstance(names[0], str):
        return uuid5(_BASE, names[0])
    raise ValueError("the server names no VO")
