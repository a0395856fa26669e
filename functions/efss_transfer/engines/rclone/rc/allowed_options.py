"""What rclone may be told of a remote: options.json, which decides every option there is.

The request's schema takes the same options and no others. This is the second lock: rclone
itself takes any option silently, and some of them run programs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from efss_transfer.model.errors import EngineError
from efss_transfer.model.request import Value


@dataclass(frozen=True)
class _Backend:
    """What a backend is told, and which members of a request are not for it.

    `ours` say in a request what rclone takes from the absence of an option, or in another
    way.
    """

    options: frozenset[str]
    ours: frozenset[str]


def for_rclone(backend: str, parameters: Mapping[str, Value]) -> dict[str, Value]:
    """The parameters of a request as rclone gets them.

    Raises EngineError if the backend, or one of them, is not allowed.
    """
    allowed = _backends().get(backend)
    if allowed is None:
        raise EngineError(f"The backend {backend[:40]!r} is not allowed.")
    for name in parameters:
        if name not in allowed.options and name not in allowed.ours:
            raise EngineError(f"The option {name[:40]!r} of {backend} is not allowed.")
    told = {name: value for name, value in parameters.items() if name in allowed.options}
    if backend == "google cloud storage" and "access_token" in parameters:
        # With the option of this name rclone's requests go past the proxy; with a token
        # of the same meaning they do not.
        token = {"access_token": parameters["access_token"], "token_type": "Bearer"}
        told["token"] = json.dumps(token)
    return told


@cache
def _backends() -> Mapping[str, _Backend]:
    text = (files("efss_transfer.engines.rclone.rc") / "options.json").read_text("utf-8")
    return {
        name: _Backend(
            frozenset(
                option for option, it in entry["options"].items() if it["decision"] == "allow"
            ),
            frozenset(entry.get("ours", ())),
        )
        for name, entry in json.loads(text)["backends"].items()
        if entry["decision"] == "allow"
    }
