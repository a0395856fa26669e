"""Logs and counts requests that are refused before anything starts."""

from __future__ import annotations

import logging
import time
from typing import Final

from efss_transfer.model.errors import EfssTransferError, Violation
from efss_transfer.model.result import Side
from efss_transfer.service import logs
from efss_transfer.service.metrics import Metrics

_LOG: Final = logging.getLogger(__name__)


def record(
    error: EfssTransferError, metrics: Metrics, log_context: logs.LogContext, began: float
) -> None:
    """Log and count the refusal of a request that came at a monotonic time.

    The log gets no text of the error and no pointer: both may quote names that the caller chose.
    """
    metrics.count_refusal(error.code)
    side = _side(getattr(error, "violations", []))
    extra = logs.members(
        "refused",
        log_context,
        code=error.code,
        side=side,
        status=error.status,
        seconds=round(time.monotonic() - began, 3),
    )
    by = f" by {log_context['caller']!r}" if "caller" in log_context else ""
    at = "" if side is None else f" ({side})"
    _LOG.info("request%s refused: %s%s", by, error.code, at, extra=extra)


def _side(violations: list[Violation]) -> str | None:
    """The side that all mistakes are at, if it is one."""
    first = {violation.pointer.split("/")[1:2][0] for violation in violations if violation.pointer}
    [only] = first if len(first) == 1 else [None]
    return only if only in set(Side) else None
