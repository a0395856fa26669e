"""Results of several invocations or shards, as the one that a caller asked for.

A shard's result is for a part of the files, so that counts can be added up. An invocation is one
request and its answer; invocations that follow one another send the same request, and each skips
what those before it brought.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from efss_transfer.model.events import Phase, Progress
from efss_transfer.model.result import (
    SAMPLES,
    ErrorGroup,
    Json,
    Reason,
    Result,
    Sample,
    Shard,
    Side,
    State,
    Totals,
    Verification,
    VerifyMode,
    encoded,
    now,
)

# As what a file is skipped that an earlier invocation brought: which it is depends on what
# `overwrite` says.
_BROUGHT_BEFORE: Final = (Reason.SAME, Reason.EXISTS, Reason.OLDER)
_STRENGTH: Final = tuple(VerifyMode)


def merged(results: Sequence[Result]) -> Result:
    """One result of all shards, of which each is there once. Raises ValueError if none is.

    Counts are added up, errors gathered by code and side; `attempts` is the most that one
    of them took. It has succeeded if all have, and failed if all have; if some failed, in part or
    as a whole, it is partial; and otherwise incomplete, or cancelled if one of them was. What the
    engine itself told is about one invocation, and left out.
    """
    if not results:
        raise ValueError("There is no result.")
    state = _state({result.state for result in results})
    errors = _errors(results, state)
    listed = [result.files for result in results]
    return Result(
        state=state,
        engine=next((result.engine for result in results if result.engine), ""),
        totals=_sum(result.totals for result in results),
        started=min(result.started for result in results),
        finished=max(result.finished for result in results),
        code=_code(state, {result.code for result in results}, errors),
        errors=errors,
        files=None if None in listed else tuple(file for files in listed for file in files or ()),
        files_omitted=sum(result.files_omitted for result in results),
        attempts=max(result.attempts for result in results),
        verification=_verification(
            [result.verification for result in results if result.verification is not None]
        ),
        id=next((result.id for result in results if result.id is not None), None),
    )


def gathered(results: Iterable[Result]) -> Result:
    """One result of what there is of a transfer: of a shard several, too, and in any order.

    Of a shard the results are those of invocations that followed one another. A shard without
    a result is an error of its own. Raises ValueError for results that are not of one transfer.
    """
    shards: dict[Shard | None, Result] = {}
    for result in sorted(results, key=lambda it: it.started):
        shards[result.shard] = successive(shards.get(result.shard), result)
    counts = {None if shard is None else shard.count for shard in shards}
    if len(counts) > 1:
        raise ValueError("The results are of different transfers: their shards do not fit.")
    found = list(shards.values())
    count = counts.pop() if counts else None
    if count is not None and (lost := count - len(found)):
        text = f"{lost} of {count} shards told no result."
        group = ErrorGroup("engine_failed", None, True, lost, (Sample("", text),))
        one = found[0]
        moment = one.started
        found.append(
            Result(State.FAILED, one.engine, Totals(), moment, moment, group.code, (group,), ())
        )
    return merged(found)


def unanswered(
    engine: str,
    message: str,
    *,
    code: str = "engine_failed",
    retryable: bool = True,
    shard: Shard | None = None,
    before: Result | None = None,
) -> Result:
    """The result of a shard whose last invocation gave none; `before` is of those before it."""
    group = ErrorGroup(code, None, retryable, 1, (Sample("", message),))
    moment = now()
    told = Result(
        State.FAILED if before is None or not before.totals.transferred else State.PARTIAL,
        engine,
        Totals(),
        moment,
        moment,
        code,
        (group,),
        shard=shard,
    )
    return told if before is None else replace(successive(before, told), files=before.files)


def short(result: Result, most: int) -> Result:
    """The result in at most so many bytes of JSON: without files, and as much as there is room
    for of the errors' samples; of the errors themselves the most frequent, if it must be.
    Totals stay what they are.
    """
    result = replace(result, files=None, files_omitted=0, notification=None, engine_report={})
    for samples, length in ((SAMPLES, 500), (3, 300), (1, 200), (1, 80), (0, 0)):
        shorter = replace(
            result,
            errors=tuple(
                replace(
                    group,
                    samples=tuple(
                        Sample(one.path[:length], one.message[:length])
                        for one in group.samples[:samples]
                    ),
                )
                for group in result.errors
            ),
        )
        if _size(shorter.to_json()) <= most:
            return shorter
    while shorter.errors and _size(shorter.to_json()) > most:
        shorter = replace(shorter, errors=shorter.errors[:-1])
    return shorter


def abreast(running: Sequence[Progress]) -> Progress:
    """Progress of shards that are copied at the same time, those that ended included."""
    phases = {progress.phase for progress in running}
    left = [progress.eta_seconds for progress in running if progress.eta_seconds is not None]
    return Progress(
        totals=_sum(progress.totals for progress in running),
        current_bytes=sum(progress.current_bytes for progress in running),
        expected_files=sum(progress.expected_files for progress in running),
        expected_bytes=sum(progress.expected_bytes for progress in running),
        speed=sum(progress.speed for progress in running),
        eta_seconds=max(left, default=None),
        phase=Phase.COPYING if Phase.COPYING in phases else running[0].phase,
        attempt=max(progress.attempt for progress in running),
        in_flight=tuple(file for progress in running for file in progress.in_flight),
    )


def _state(states: set[State]) -> State:
    if len(states) == 1:
        return states.pop()
    if State.CANCELLED in states:
        return State.CANCELLED
    return State.PARTIAL if states & {State.FAILED, State.PARTIAL} else State.INCOMPLETE


def _code(state: State, codes: set[str | None], errors: tuple[ErrorGroup, ...]) -> str | None:
    """The code that decides the HTTP status."""
    if state is State.SUCCEEDED:
        return None
    if state is not State.FAILED:
        return state.value
    codes.discard(None)
    if len(codes) == 1:
        return codes.pop()
    return errors[0].code if errors else "engine_failed"


def _errors(results: Sequence[Result], state: State) -> tuple[ErrorGroup, ...]:
    groups: dict[tuple[str, Side | None], list[ErrorGroup]] = {}
    for result in results:
        for group in result.errors:
            groups.setdefault((group.code, group.side), []).append(group)
    unfinished = sum(result.state is State.INCOMPLETE for result in results)
    if unfinished and state is State.PARTIAL:
        # Or else nobody would see that the same again goes on with them.
        text = f"The time ran out for {unfinished} of {len(results)} shards."
        group = ErrorGroup("engine_failed", None, True, unfinished, (Sample("", text),))
        groups.setdefault((group.code, group.side), []).append(group)
    return tuple(
        sorted(map(_together, groups.values()), key=lambda group: group.count, reverse=True)
    )


def _together(groups: list[ErrorGroup]) -> ErrorGroup:
    """All errors of one code on one side; a sample of each shard before a second of any."""
    samples = dict.fromkeys(
        group.samples[number]
        for number in range(SAMPLES)
        for group in groups
        if number < len(group.samples)
    )
    return replace(
        groups[0],
        retryable=any(group.retryable for group in groups),
        count=sum(group.count for group in groups),
        samples=tuple(samples)[:SAMPLES],
    )


def _verification(seen: Sequence[Verification]) -> Verification | None:
    if not seen:
        return None
    # The weakest of them is what holds for all: of a shard without files it is what was asked.
    looked = [it for it in seen if it.checked or it.missing] or seen
    weakest = min(looked, key=lambda it: _STRENGTH.index(it.mode))
    hashes = {it.hash for it in looked}
    return Verification(
        weakest.mode,
        sum(it.checked for it in seen),
        sum(it.differing for it in seen),
        sum(it.missing for it in seen),
        hashes.pop() if len(hashes) == 1 else None,
        sum(it.by_size for it in seen),
    )


def _sum(totals: Iterable[Totals]) -> Totals:
    each = list(totals)
    reasons: Counter[Reason] = Counter()
    for it in each:
        reasons.update(it.reasons)

    def summed(count: Callable[[Totals], int]) -> int:
        return sum(map(count, each))

    return Totals(
        summed(lambda it: it.transferred),
        summed(lambda it: it.skipped),
        summed(lambda it: it.failed),
        summed(lambda it: it.transferred_bytes),
        dict(reasons),
        summed(lambda it: it.dry_run_bytes),
    )


def _size(document: Json) -> int:
    return len(encoded(document))


def successive(earlier: Result | None, later: Result) -> Result:
    """One result of an invocation and all those before it, which were for the same request.

    Files and bytes that were copied are added up. What the later one skipped because an
    earlier one had brought it counts once, as copied. What failed is what has failed in the
    end, and so is verification.
    """
    if earlier is None:
        return later
    return replace(
        later,
        totals=_totals(earlier.totals, later.totals),
        started=earlier.started,
        attempts=earlier.attempts + later.attempts,
        files_omitted=earlier.files_omitted + later.files_omitted,
    )


def ahead(progress: Progress, before: Totals) -> Progress:
    """Progress of an invocation, with what those before it brought."""
    now = progress.totals
    return replace(
        progress,
        totals=replace(
            now,
            transferred=before.transferred + now.transferred,
            skipped=max(before.skipped, now.skipped - before.transferred),
        ),
        current_bytes=before.transferred_bytes + progress.current_bytes,
        expected_files=before.transferred + progress.expected_files,
        expected_bytes=before.transferred_bytes + progress.expected_bytes,
    )


def _totals(earlier: Totals, later: Totals) -> Totals:
    # An invocation that ran out of time has not seen all that there is to skip, so that each
    # tells a number that is too low, or right.
    skipped = max(earlier.skipped, later.skipped - earlier.transferred)
    reasons = dict(earlier.reasons)
    if skipped > earlier.skipped:
        reasons = dict(later.reasons)
        brought = earlier.transferred
        for reason in _BROUGHT_BEFORE:
            taken = min(brought, reasons.get(reason, 0))
            reasons[reason] = reasons.get(reason, 0) - taken
            brought -= taken
    return Totals(
        earlier.transferred + later.transferred,
        skipped,
        later.failed,
        earlier.transferred_bytes + later.transferred_bytes,
        {reason: count for reason, count in reasons.items() if count},
        later.dry_run_bytes,
    )
