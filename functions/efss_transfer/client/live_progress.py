"""Decode the progress of a running transfer."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

from efss_transfer.model.events import InFlight, Phase, Progress, Wait, WaitReason
from efss_transfer.model.result import Side, Totals

_Known = TypeVar("_Known", bound=StrEnum)


def progress(it: Mapping[str, Any]) -> Progress:
    """Decode a progress event. Raises ValueError, KeyError or TypeError otherwise."""
    files, moved = it["files"], it["bytes"]
    return Progress(
        totals=Totals(files["transferred"], files["skipped"], files["failed"]),
        current_bytes=int(moved["transferred"]),
        expected_files=int(files["expected"]),
        expected_bytes=int(moved["expected"]),
        speed=float(it["bytes_per_second"]),
        eta_seconds=None if it.get("eta_seconds") is None else float(it["eta_seconds"]),
        phase=known(Phase, it["phase"]) or Phase.COPYING,
        attempt=int(it["attempt"]),
        in_flight=tuple(
            InFlight(str(one["path"]), int(one["bytes"]), one.get("size"))
            for one in it["in_flight"]
        ),
        waiting=_wait(it.get("waiting")),
    )


def known(kind: type[_Known], name: object) -> _Known | None:
    """Return a member of an enumeration, or None for one that a newer service has added."""
    try:
        return kind(str(name))
    except ValueError:
        return None


def _wait(it: Mapping[str, Any] | None) -> Wait | None:
    if it is None or (reason := known(WaitReason, it["for"])) is None:
        return None
    seconds = it.get("seconds")
    return Wait(
        reason,
        known(Side, it.get("side")),
        str(it.get("server", "")),
        str(it.get("path", "")),
        None if seconds is None else float(seconds),
    )
