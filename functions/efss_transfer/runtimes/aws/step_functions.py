"""A transfer as parallel shards, driven by the state machine in template.yaml.

Each step is an event, and its answer says what comes next, so that the state machine itself
computes nothing and keeps nothing but its state:

    {"divide": its input}           the number of shards, and the request for each of them
    {"copy": a shard's state}       the shard's progress, and whether and when to invoke it again
    {"merge": all shards' answers}  one result
    {"check": the merged result}    that result, after one more comparison of both sides

A state has at most 256 KiB, with the results of all shards in it. So each result is shortened, and
there are at most 400 shards. More would not help: a shard is resumed as often as it takes, and
each invocation lists the whole source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, Final

from efss_transfer.client import decoding, merge
from efss_transfer.client.resume import (
    BACKOFF,
    Ended,
    ResumeProgress,
    RetryPolicy,
    next_step,
    skips_existing_files,
)
from efss_transfer.contract import schemas
from efss_transfer.contract.validation import violations
from efss_transfer.model.encoding import encode_json
from efss_transfer.model.errors import InvalidRequest, Violation
from efss_transfer.model.result import ErrorGroup, Json, Result, Sample, Shard, State

MOST_SHARDS: Final = 400
SHARD_RESULT_BYTES: Final = 500
"""The most that a shard's result may take: 400 of them, and what AWS adds, fit into a state."""

_CAUSE_BYTES: Final = 30_000  # the cause of a failed execution has at most 32,768 characters
_MOST_INVOCATIONS: Final = 1000  # of a shard: a history has at most 25,000 events, 9 for each
_RETRIES: Final = 5
_AUTO: Final = "auto"
_NOT_OF_THE_REQUEST: Final = ("shards", "plan")
# A plan that measures nothing: it only counts the files that are left to copy.
_COUNT_ONLY: Final = {"rate": 1e9, "files_per_second": 1e6}

Invoke = Callable[[dict[str, Any]], Mapping[str, Any]]
"""Answers a bare request: with its result or its plan, or with a problem."""


def step(event: Mapping[str, Any], invoke: Invoke) -> dict[str, Json]:
    """Run a step. Raises InvalidRequest for one that the state machine does not send."""
    [(name, state)] = event.items()
    try:
        return _STEPS[name](state, invoke)
    except (KeyError, TypeError, ValueError, AttributeError):
        text = "This is not a state of the state machine in template.yaml."
        raise InvalidRequest([Violation(f"/{name}", "type", text)]) from None


def _divide(state: Mapping[str, Any], invoke: Invoke) -> dict[str, Json]:
    """Divide a request into shards.

    The input is a request with one more member, `shards`: a number, or "auto". For "auto" it may
    have `plan` as well, the parameters of the plan.
    """
    given = state["input"]
    request = {name: it for name, it in given.items() if name not in _NOT_OF_THE_REQUEST}
    count = given.get("shards", _AUTO)
    wrong = _violations(request, count)
    if wrong:
        text = " ".join(f"{it.pointer or '(entire input)'}: {it.message}" for it in wrong)
        return _refused("invalid_request", text)
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


def _violations(request: dict[str, Any], count: object) -> list[Violation]:
    wrong, _ = violations("request", request)
    if "shard" in (request.get("selection") or {}):
        text = "Leave the shard out: the state machine sets it."
        wrong.append(Violation("/selection/shard", "order", text))
    if (request.get("options") or {}).get("detach"):
        text = "Leave it out: the state machine waits for all of its shards."
        wrong.append(Violation("/options/detach", "order", text))
    if count != _AUTO and not (type(count) is int and 1 <= count <= MOST_SHARDS):
        text = f'Must be "{_AUTO}", or a number from 1 to {MOST_SHARDS}.'
        wrong.append(Violation("/shards", "type", text))
    return wrong


def _copy(state: Mapping[str, Any], invoke: Invoke) -> dict[str, Json]:
    """Run one invocation for a shard, and merge its result into those before it."""
    request, shard, so_far = state["request"], _shard(state["shard"]), state["progress"]
    before = None if so_far["result"] is None else decoding.result(so_far["result"])
    progress = ResumeProgress(
        int(so_far["invocations"]), int(so_far["stalled"]), int(so_far["tries"])
    )

    answer = invoke({**request, "selection": {**request["selection"], "shard": shard.to_json()}})

    reported = answer if "state" in answer else answer.get("result")
    if reported is not None:
        result = replace(decoding.result(reported), shard=shard)
        arrived, retryable = result.totals.transferred > 0, result.retryable
        result = merge.successive(before, result)
        ended = Ended(result.state, retryable, arrived)
    else:
        retryable = bool(answer["retryable"])
        result = merge.unanswered(
            _engine(request),
            f"{answer['code']}: {answer['detail']}",
            code=_code_of_group(str(answer["code"])),
            retryable=retryable,
            shard=shard,
            before=before,
        )
        ended = Ended(None, retryable, arrived=False)
    resumes = skips_existing_files(str(request["options"].get("overwrite")))
    policy = RetryPolicy(_RETRIES, _MOST_INVOCATIONS, resumes, renewed_by_files=True)
    following = next_step(progress, ended, policy)
    return {
        "next": "copy" if following.resumes else "end",
        "seconds": math.ceil(following.wait or 0.0),
        **asdict(following.progress),
        # The state machine knows the shard and the id.
        "result": merge.short(replace(result, shard=None, id=None), SHARD_RESULT_BYTES).to_json(),
    }


def _merge(state: Mapping[str, Any], _: Invoke) -> dict[str, Json]:
    """Merge the results of all shards. A shard whose answer cannot be read counts as lost."""
    request, count = state["divided"]["request"], state["divided"]["count"]
    results = []
    for part in state["parts"]:
        try:
            results.append(_result_of_shard(part, _engine(request)))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
    first = Shard(0, count)
    if first not in {result.shard for result in results}:
        # Also where no shard answered: the number of shards is read from a result.
        text = "A shard reported no result."
        results.append(merge.unanswered(_engine(request), text, shard=first))
    result = replace(merge.gathered(results), id=request.get("id"))
    options = request["options"]
    comparable = skips_existing_files(str(options.get("overwrite"))) and not options.get("dry_run")
    if result.state is State.SUCCEEDED and comparable:
        return {"next": "check", "tries": 0, "seconds": 0, "result": _final(result)}
    return _ended(result)


def _check(state: Mapping[str, Any], invoke: Invoke) -> dict[str, Json]:
    """Compare both sides once more: no file may be left to copy.

    Each shard has succeeded by its own account. This check finds what no shard can see: a shard
    that is missing, or a source that changed between them.
    """
    request, merged = state["divided"]["request"], state["merged"]
    result = decoding.result(merged["result"])
    plan = invoke({**request, "plan": _COUNT_ONLY})
    if plan.get("files") == 0:
        return _ended(result)
    if "files" in plan:
        count, code, retryable = int(plan["files"]), "checksum_mismatch", True
        files = "1 file" if count == 1 else f"{count} files"
        text = (
            f"After all shards ended, {files} of the source were missing at the destination or "
            "had changed since. Send the same input again to copy them."
        )
    else:
        tries = merged["tries"] + 1
        retryable = bool(plan["retryable"])
        if retryable and tries <= _RETRIES:
            seconds = math.ceil(BACKOFF.seconds(tries))
            return {**merged, "next": "check", "tries": tries, "seconds": seconds}
        count, code = 1, _code_of_group(str(plan["code"]))
        text = f"All shards succeeded, but the comparison after them failed: {plan['detail']}"
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


def _result_of_shard(part: Mapping[str, Any], engine: str) -> Result:
    shard = _shard(part["shard"])
    result = None
    if part["result"] is not None:
        result = replace(decoding.result(part["result"]), shard=shard)
    if "error" in part or result is None:
        text = f"The function gave no answer ({part.get('error', 'and no error')})."
        return merge.unanswered(engine, text, shard=shard, before=result)
    return result


def _ended(result: Result) -> dict[str, Json]:
    """End the execution. One that fails has a code and a cause, and no other output."""
    final = _final(result)
    if result.state is State.SUCCEEDED:
        return {"next": "end", "result": final}
    return {
        "next": "fail",
        "code": result.code,
        "cause": encode_json(final).decode(),
        "result": final,
    }


def _final(result: Result) -> Json:
    return merge.short(result, _CAUSE_BYTES).to_json()


def _refused(code: str, detail: str) -> dict[str, Json]:
    return {"next": "fail", "code": code, "cause": detail[:_CAUSE_BYTES]}


def _shard(document: Mapping[str, Any]) -> Shard:
    return Shard(int(document["index"]), int(document["count"]))


def _engine(request: Mapping[str, Any]) -> str:
    return str(request.get("engine", schemas.schema("request")["properties"]["engine"]["default"]))


def _code_of_group(code: str) -> str:
    """Return the code if a result's errors can have it: a refused request has codes of its own."""
    known = schemas.schema("result")["$defs"]["error_group"]["properties"]["code"]["enum"]
    return code if code in known else "engine_failed"
