"""One result out of the results of several invocations or shards.

A shard's result covers a part of the files, so its counts can be added to those of others.
Invocations that follow one another send the same request: each skips the files that earlier ones
copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from efss_transfer.client.totals import successive_totals, total
from efss_transfer.model.encoding import encode_json
from efss_transfer.model.errors import STILL_RUNNING
from efss_transfer.model.result import (
    MAX_SAMPLES,
    ErrorGroup,
    Result,
    Sample,
    Shard,
    Side,
    State,
    Totals,
    WarningGroup,
    utc_now,
)
from efss_transfer.model.verification import Verification, VerifyMode
from efss_transfer.model.warnings import WARNINGS

_STRENGTH: Final = tuple(VerifyMode)
# How many samples of an error remain, and how many characters of each, as room gets scarce.
_SHORTER: Final = ((MAX_SAMPLES, 500), (3, 300), (1, 200), (1, 80), (0, 0))


def successive(earlier: Result | None, later: Result) -> Result:
    """Merge an invocation's result into that of the invocations before it.

    Copied files, bytes and warnings add up. Failures and the verification are those of the later
    one.
    """
    if earlier is None:
        return later
    return replace(
        later,
        totals=successive_totals(earlier.totals, later.totals),
        started=earlier.started,
        attempts=earlier.attempts + later.attempts,
        files_omitted=earlier.files_omitted + later.files_omitted,
        warnings=_warnings([earlier, later]),
    )


def merged(shards: Sequence[Result]) -> Result:
    """Merge the results of all shards, one result a shard.

    Counts add up, errors are grouped by code and side, warnings by code; `attempts` is the largest.
    The result has succeeded if all shards have, and failed if all have. If some failed, in part or
    entirely, it is partial; otherwise it is incomplete, or cancelled if a shard was. The engine's
    own report is about one invocation and is left out. Raises ValueError if there is no result.
    """
    if not shards:
        raise ValueError("There are no results to merge.")
    state = _state({result.state for result in shards})
    errors = _errors(shards, state)
    listed = [result.files for result in shards]
    return Result(
        state=state,
        engine=next((result.engine for result in shards if result.engine), ""),
        totals=total(result.totals for result in shards),
        started=min(result.started for result in shards),
        finished=max(result.finished for result in shards),
        code=_code(state, {result.code for result in shards}, errors),
        errors=errors,
        files=None if None in listed else tuple(file for files in listed for file in files or ()),
        files_omitted=sum(result.files_omitted for result in shards),
        attempts=max(result.attempts for result in shards),
        verification=_verification(
            [result.verification for result in shards if result.verification is not None]
        ),
        warnings=_warnings(shards),
        id=next((result.id for result in shards if result.id is not None), None),
    )


def gathered(results: Iterable[Result]) -> Result:
    """Merge all results of a transfer, in any order and several for a shard.

    Several results of a shard are those of successive invocations. Shards without a result become
    an error. Raises ValueError for results that are not of one transfer.
    """
    shards: dict[Shard | None, Result] = {}
    for result in sorted(results, key=lambda one: one.started):
        shards[result.shard] = successive(shards.get(result.shard), result)
    counts = {None if shard is None else shard.count for shard in shards}
    if len(counts) > 1:
        raise ValueError("The results are of different transfers: their shards do not fit.")
    found = list(shards.values())
    count = counts.pop() if counts else None
    if count is not None and (lost := count - len(found)):
        text = f"{lost} of {count} shards reported no result."
        group = ErrorGroup("engine_failed", None, True, lost, (Sample("", text),))
        first = found[0]
        moment = first.started
        found.append(
            Result(State.FAILED, first.engine, Totals(), moment, moment, group.code, (group,), ())
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
    """Make the result of a shard whose last invocation gave none.

    `before` is the result of the invocations before it.
    """
    group = ErrorGroup(code, None, retryable, 1, (Sample("", message),))
    moment = utc_now()
    last = Result(
        State.FAILED if before is None or not before.totals.transferred else State.PARTIAL,
        engine,
        Totals(),
        moment,
        moment,
        code,
        (group,),
        shard=shard,
    )
    return last if before is None else replace(successive(before, last), files=before.files)


def short(result: Result, most: int) -> Result:
    """Shorten a result to at most `most` bytes of JSON. Totals stay exact.

    Files go first, then samples, then the warnings and the errors that are least frequent.
    """
    result = replace(result, files=None, files_omitted=0, notification=None, engine_report={})
    for samples, length in _SHORTER:
        shorter = replace(
            result,
            errors=tuple(
                replace(group, samples=_cut(group.samples[:samples], length))
                for group in result.errors
            ),
            warnings=tuple(
                replace(
                    group,
                    message=group.message if samples else "",  # `merged` adds it again
                    samples=_cut(group.samples[:samples], length),
                )
                for group in result.warnings
            ),
        )
        if _bytes(shorter) <= most:
            return shorter
    while shorter.warnings and _bytes(shorter) > most:
        shorter = replace(shorter, warnings=shorter.warnings[:-1])
    while shorter.errors and _bytes(shorter) > most:
        shorter = replace(shorter, errors=shorter.errors[:-1])
    return shorter


def _cut(samples: Iterable[Sample], length: int) -> tuple[Sample, ...]:
    return tuple(Sample(one.path[:length], one.message[:length]) for one in samples)


def _bytes(result: Result) -> int:
    return len(encode_json(result.to_json()))


def _state(states: set[State]) -> State:
    if len(states) == 1:
        return states.pop()
    if State.CANCELLED in states:
        return State.CANCELLED
    return State.PARTIAL if states & {State.FAILED, State.PARTIAL} else State.INCOMPLETE


def _code(state: State, codes: set[str | None], errors: tuple[ErrorGroup, ...]) -> str | None:
    """Choose the code that decides the HTTP status."""
    if state is State.SUCCEEDED:
        return None
    codes.discard(None)
    if state is State.INCOMPLETE and codes == {STILL_RUNNING}:
        return STILL_RUNNING
    if state is not State.FAILED:
        return state.value
    if len(codes) == 1:
        return codes.pop()
    return errors[0].code if errors else "engine_failed"


def _errors(shards: Sequence[Result], state: State) -> tuple[ErrorGroup, ...]:
    groups: dict[tuple[str, Side | None], list[ErrorGroup]] = {}
    for result in shards:
        for group in result.errors:
            groups.setdefault((group.code, group.side), []).append(group)
    unfinished = sum(result.state is State.INCOMPLETE for result in shards)
    if unfinished and state is State.PARTIAL:
        # A partial result does not show otherwise that sending the request again resumes them.
        text = f"The time ran out for {unfinished} of {len(shards)} shards."
        group = ErrorGroup("engine_failed", None, True, unfinished, (Sample("", text),))
        groups.setdefault((group.code, group.side), []).append(group)
    return tuple(
        sorted(map(_one_group, groups.values()), key=lambda group: group.count, reverse=True)
    )


def _one_group(groups: list[ErrorGroup]) -> ErrorGroup:
    """Merge the groups of one code and side."""
    return replace(
        groups[0],
        retryable=any(group.retryable for group in groups),
        count=sum(group.count for group in groups),
        samples=_some([group.samples for group in groups]),
    )


def _warnings(results: Sequence[Result]) -> tuple[WarningGroup, ...]:
    groups: dict[str, list[WarningGroup]] = {}
    for result in results:
        for group in result.warnings:
            groups.setdefault(group.code, []).append(group)
    one_of_each = (
        WarningGroup(
            code,
            next((group.message for group in of_code if group.message), WARNINGS.get(code, "")),
            sum(group.count for group in of_code),
            _some([group.samples for group in of_code]),
        )
        for code, of_code in groups.items()
    )
    return tuple(sorted(one_of_each, key=lambda group: group.count, reverse=True))


def _some(groups: Sequence[tuple[Sample, ...]]) -> tuple[Sample, ...]:
    """Choose the samples of a merged group: one of each group before a second of any."""
    samples = dict.fromkeys(
        group[number] for number in range(MAX_SAMPLES) for group in groups if number < len(group)
    )
    return tuple(samples)[:MAX_SAMPLES]


def _verification(verifications: Sequence[Verification]) -> Verification | None:
    if not verifications:
        return None
    # The weakest mode holds for all. A shard without files only repeats the mode asked for.
    compared = [one for one in verifications if one.checked or one.missing] or verifications
    weakest = min(compared, key=lambda one: _STRENGTH.index(one.mode))
    hashes = {one.hash for one in compared}
    return Verification(
        weakest.mode,
        sum(one.checked for one in verifications),
        sum(one.differing for one in verifications),
        sum(one.missing for one in verifications),
        hashes.pop() if len(hashes) == 1 else None,
        sum(one.by_size for one in verifications),
    )
