"""The options that rclone may be given for a remote, from options.json.

The request's schema accepts the same options and no others. This is a second check, because
rclone itself accepts any option silently, and some options run programs.
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
    """A backend's allowed options.

    `request_only` are members of a request that rclone does not know: it infers them from a
    missing option, or takes them in another form.
    """

    options: frozenset[str]
    request_only: frozenset[str]


def rclone_parameters(backend: str, parameters: Mapping[str, Value]) -> dict[str, Value]:
    """The parameters of a request as rclone takes them.

    Raises EngineError if the backend, or one of the parameters, is not allowed.
    """
    allowed = _allowed_backends().get(backend)
    if allowed is None:
        raise EngineError(f"The storage type {backend[:40]!r} is not allowed.")
    for name in parameters:
        if name not in allowed.options and name not in allowed.request_only:
            raise EngineError(f"The parameter {name[:40]!r} of {backend} is not allowed.")
    known = {name: value for name, value in parameters.items() if name in allowed.options}
    if backend == "google cloud storage" and "access_token" in parameters:
        # With the option of this name, rclone's requests bypass the proxy; with the same
        # token as `token` they do not.
        token = {"access_token": parameters["access_token"], "token_type": "Bearer"}
        known["token"] = json.dumps(token)
    return known


@cache
def _allowed_backends() -> Mapping[str, _Backend]:
    text = (files("efss_transfer.engines.rclone.rc") / "options.json").read_text("utf-8")
    return {
        name: _Backend(
            frozenset(
                option for option, it in entry["options"].items() if it["decision"] == "allow"
            ),
            frozenset(entry.get("request_only", ())),
        )
        for name, entry in json.loads(text)["backends"].items()
        if entry["decision"] == "allow"
    }
