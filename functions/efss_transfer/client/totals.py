"""Totals of several invocations or shards, added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from efss_transfer.model.result import Reason, Totals

# Why an invocation skips a file that an earlier one copied; which reason depends on `overwrite`.
_COPIED_EARLIER: Final = (Reason.SAME, Reason.EXISTS, Reason.OLDER)


def total(totals: Iterable[Totals]) -> Totals:
    """Add up the totals of shards, which have no file in common."""
    each = list(totals)
    reasons: Counter[Reason] = Counter()
    for one in each:
        reasons.update(one.reasons)

    def summed(count: Callable[[Totals], int]) -> int:
        return sum(map(count, each))

    return Totals(
        summed(lambda one: one.transferred),
        summed(lambda one: one.skipped),
        summed(lambda one: one.failed),
        summed(lambda one: one.transferred_bytes),
        dict(reasons),
        summed(lambda one: one.dry_run_bytes),
    )


def successive_totals(earlier: Totals, later: Totals) -> Totals:
    """Merge the totals of an invocation into those of earlier ones for the same request.

    A file that the later one skips because an earlier one copied it counts once, as copied.
    """
    # An invocation that ran out of time has not listed every file that it would skip: the
    # number of either is too low, or right.
    skipped = max(earlier.skipped, later.skipped - earlier.transferred)
    reasons = dict(earlier.reasons)
    if skipped > earlier.skipped:
        reasons = dict(later.reasons)
        copied = earlier.transferred
        for reason in _COPIED_EARLIER:
            taken = min(copied, reasons.get(reason, 0))
            reasons[reason] = reasons.get(reason, 0) - taken
            copied -= taken
    return Totals(
        earlier.transferred + later.transferred,
        skipped,
        later.failed,
        earlier.transferred_bytes + later.transferred_bytes,
        {reason: count for reason, count in reasons.items() if count},
        later.dry_run_bytes,
    )
