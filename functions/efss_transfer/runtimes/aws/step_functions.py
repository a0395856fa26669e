"""A transfer as shards side by side, by a state machine that remembers nothing but its state.

Each step is an event, and its answer says what comes next, so that the state machine, which
is in template.yaml, has nothing to reckon:

    {"divide": its input}        how many shards there are, and the request as each wants it
    {"copy": a shard's state}    what is known of the shard, whether to go on with it, and when
    {"merge": what all told}     one result
    {"check": what was merged}   that result, after one more look at both sides

A state has at most 256 KiB, with the results of all shards in it: each is told short, and
there are at most 400 shards. More would be no use: a shard goes on for as many invocations as it
takes, and every one of them has to list the whole source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from efss_transfer.client import decoding, merge, resume
from efss_transfer.client import merge as client_merge
from efss_transfer.contract import schemas
from efss_transfer.contract.validation import violations
from efss_transfer.model.errors import InvalidRequest, Violation
from efss_transfer.model.result import ErrorGroup, Json, Result, Sample, Shard, State, encoded

MOST_SHARDS: Final = 400
PART_BYTES: Final = 500
"""What a shard may tell: 400 of them, and what the state machine adds, fit into a state."""

_CAUSE_BYTES: Final = 30_000  # a state machine's failure has a text of 32768 characters at most
_MOST_INVOCATIONS: Final = 1000  # of a shard: its history may have 25,000 events, 9 for each
_RETRIES: Final = 5
_AUTO: Final = "auto"
_BESIDE: Final = ("shards", "plan")
# Nothing is to be measured: only whether there is something left to be copied is asked.
_LOOK: Final = {"rate": 1e9, "files_per_second": 1e6}

Invoke = Callable[[dict[str, Any]], Mapping[str, Any]]
"""Answers a bare request: with its result or its plan, or with a problem."""


def step(event: Mapping[str, Any], invoke: Invoke) -> dict[str, Json]:
    """Do a step. Raises InvalidRequest for one that the state machine does not send."""
    [(name, state)] = event.items()
    try:
        return _STEPS[name](state, invoke)
    except (KeyError, TypeError, ValueError, AttributeError):
        text = "This is no state of the state machine's."
        raise InvalidRequest([Violation(f"/{name}", "type", text)]) from None


def _divide(state: Mapping[str, Any], invoke: Invoke) -> dict[str, Json]:
    """The input is a request that has, beside its members, `shards`: how many, or "auto";
    and for that what a plan is to reckon with, in `plan`.
    """
    given = state["input"]
    request = {name: it for name, it in given.items() if name not in _BESIDE}
    count = given.get("shards", _AUTO)
    wrong, _ = violations("request", request)
    if "shard" in (request.get("selection") or {}):
        wrong.append(Violation("/selection/shard", "order", "Which shards there are is ours."))
    if count != _AUTO and not (type(count) is int and 1 <= count <= MOST_SHARDS):
        text = f'Must be "{_AUTO}", or a number from 1 to {MOST_SHARDS}.'
        wrong.append(Violation("/shards", "type", text))
    if wrong:
        told = " ".join(f"{it.pointer or '(the whole)'}: {it.message}" for it in wrong)
        return _refused("invalid_request", told)
    if count == _AUTO:
        plan = invoke({**request, "plan": given.get("plan", {})})
        if "shards" not in plan:
            return _refused(str(plan["code"]), str(plan["detail"]))
        count = min(MOST_SHARDS, int(plan["shards"]["count"]))
    return {
        "next": "copy",
        "request": {
            **request,
            "selection": request.get("selection", {}),
            "options": {**request.get("options", {}), "report": "summary"},
        },
        "count": count,
        "indexes": list(range(count)),
        "parallel": int(state["parallel"]),
    }


def _copy(state: Mapping[str, Any], invoke: Invoke) -> dict[str, Json]:
    """One invocation for a shard, and what all of them so far have done."""
    request, shard = state["request"], _shard(state["shard"])
    so_far = state["progress"]
    before = None if so_far["result"] is None else decoding.result(so_far["result"])
    invocations = so_far["invocations"] + 1

    answer = invoke({**request, "selection": {**request["selection"], "shard": shard.to_json()}})

    ran = answer if "state" in answer else answer.get("result")
    if ran is not None:
        ended = replace(decoding.result(ran), shard=shard)
        brought = ended.totals.transferred > 0
        result = client_merge.successive(before, ended)
        retryable = ended.retryable
    else:
        brought, retryable = False, bool(answer["retryable"])
        text = f"{answer['code']}: {answer['detail']}"
        result = merge.unanswered(
            _engine(request),
            text,
            code=_code_of_group(str(answer["code"])),
            retryable=retryable,
            shard=shard,
            before=before,
        )
    stalled = 0 if brought else so_far["stalled"] + 1
    tries = 1 if brought else so_far["tries"] + 1
    again, seconds = False, 0
    if result.state is State.INCOMPLETE:
        carry_on = resume.may_be_carried_on(str(request["options"].get("overwrite")))
        again = carry_on and stalled < resume.STALLED
        tries = 0
    elif result.state is not State.SUCCEEDED and retryable:
        again = tries <= _RETRIES
        seconds = math.ceil(resume.back_off(tries))
    return {
        "next": "copy" if again and invocations < _MOST_INVOCATIONS else "end",
        "seconds": seconds,
        "invocations": invocations,
        "stalled": stalled,
        "tries": tries,
        # Shard and id are known besides.
        "result": merge.short(replace(result, shard=None, id=None), PART_BYTES).to_json(),
    }


def _merge(state: Mapping[str, Any], _: Invoke) -> dict[str, Json]:
    """One result of all shards; what told nothing that can be read counts as lost."""
    request, count = state["divided"]["request"], state["divided"]["count"]
    told = []
    for part in state["parts"]:
        try:
            told.append(_told(part, _engine(request)))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    known = {result.shard for result in told}
    first = Shard(0, count)
    if first not in known:
        # Also where nothing at all was told: a result of some shard is needed to count by.
        told.append(merge.unanswered(_engine(request), "A shard told nothing.", shard=first))
    result = replace(merge.gathered(told), id=request.get("id"))
    options = request["options"]
    looks = resume.may_be_carried_on(str(options.get("overwrite")))
    if result.state is State.SUCCEEDED and looks and not options.get("dry_run"):
        return {"next": "check", "tries": 0, "seconds": 0, "result": _final(result)}
    return _ended(result)


def _check(state: Mapping[str, Any], invoke: Invoke) -> dict[str, Json]:
    """One more look at both sides, which must find nothing that is still to be copied.

    All shards have succeeded, each by its own account. This shows what none of them can see:
    that they were all, and of the same whole.
    """
    request, merged = state["divided"]["request"], state["merged"]
    result = decoding.result(merged["result"])
    plan = invoke({**request, "plan": _LOOK})
    if plan.get("files") == 0:
        return _ended(result)
    if "files" in plan:
        count, code, retryable = int(plan["files"]), "checksum_mismatch", True
        text = (
            f"After all shards had ended {count} files of the source were not at the "
            "destination, or had changed since. The same input again copies them."
        )
    else:
        tries = merged["tries"] + 1
        retryable = bool(plan["retryable"])
        if retryable and tries <= _RETRIES:
            seconds = math.ceil(resume.back_off(tries))
            return {**merged, "next": "check", "tries": tries, "seconds": seconds}
        count, code = 1, _code_of_group(str(plan["code"]))
        text = f"All shards have succeeded; the look after them has not: {plan['detail']}"
    group = ErrorGroup(code, None, retryable, count, (Sample("", text),))
    return _ended(
        replace(
            result,
            state=State.INCOMPLETE,
            code=State.INCOMPLETE.value,
            errors=(group, *result.errors),
        )
    )


_STEPS: Final[dict[str, Callable[[Any, Invoke], dict[str, Json]]]] = {
    "divide": _divide,
    "copy": _copy,
    "merge": _merge,
    "check": _check,
}


def _told(part: Mapping[str, Any], engine: str) -> Result:
    shard = _shard(part["shard"])
    result = None
    if part["result"] is not None:
        result = replace(decoding.result(part["result"]), shard=shard)
    if "error" in part or result is None:
        text = f"The function gave no answer ({part.get('error', 'and no error')})."
        return merge.unanswered(engine, text, shard=shard, before=result)
    return result


def _ended(result: Result) -> dict[str, Json]:
    """The end: a state machine that fails has a code and a text, and no output but that."""
    told = _final(result)
    if result.state is State.SUCCEEDED:
        return {"next": "end", "result": told}
    return {"next": "fail", "code": result.code, "cause": encoded(told).decode(), "result": told}


def _final(result: Result) -> Json:
    return merge.short(result, _CAUSE_BYTES).to_json()


def _refused(code: str, detail: str) -> dict[str, Json]:
    return {"next": "fail", "code": code, "cause": detail[:_CAUSE_BYTES]}


def _shard(it: Mapping[str, Any]) -> Shard:
    return Shard(int(it["index"]), int(it["count"]))


def _engine(request: Mapping[str, Any]) -> str:
    return str(request.get("engine", schemas.schema("request")["properties"]["engine"]["default"]))


def _code_of_group(code: str) -> str:
    """As a result's errors have it: what never ran has codes that no result has."""
    known = schemas.schema("result")["$defs"]["error_group"]["properties"]["code"]["enum"]
    return code if code in known else "engine_failed"
