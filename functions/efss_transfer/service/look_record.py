"""The log lines and metrics of what reads storages and copies nothing: lists, checks, plans."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

from efss_transfer.model.errors import EfssTransferError
from efss_transfer.model.result import Json
from efss_transfer.service import logs
from efss_transfer.service.runner import RunParameters

_LOG: Final = logging.getLogger(__name__)
Kind = Literal["list", "check", "plan"]


class LookRecord:
    """Records one look, which began when this was made."""

    def __init__(self, kind: Kind, subject: str, parameters: RunParameters) -> None:
        self.began = time.monotonic()
        self._kind = kind
        self._parameters = parameters
        self._label = f"{kind} of {subject} by {parameters.caller!r}"

    def ended(self, text: str, code: str | None, **more: Json) -> None:
        """Record how the look ended; without a code it succeeded."""
        seconds = time.monotonic() - self.began
        self._parameters.metrics.observe_look(self._kind, code, seconds)
        self.log("ended", text, code=code, seconds=round(seconds, 3), **more)

    def log(self, event: str, text: str, **more: Json) -> None:
        """Write a line."""
        extra = logs.members(f"{self._kind}.{event}", self._parameters.log_context, **more)
        _LOG.info("%s: %s", self._label, text, extra=extra)


@contextmanager
def recorded(kind: Kind, subject: str, parameters: RunParameters) -> Iterator[LookRecord]:
    """Log the start, and record an engine that could not start. The block records any other end."""
    record = LookRecord(kind, subject, parameters)
    record.log("started", "started")
    try:
        yield record
    except Exception as error:
        code = error.code if isinstance(error, EfssTransferError) else "internal"
        record.ended(f"failed before it started: {code} ({type(error).__name__})", code)
        raise
