"""The steps of the state machine, which say what comes next."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from efss_transfer.contract import problems
from efss_transfer.model.errors import InvalidRequest
from efss_transfer.model.result import ErrorGroup, Result, Sample, State, Totals, utc_now
from efss_transfer.model.warnings import WARNINGS
from efss_transfer.runtimes.aws import events, handler, step_functions
from support.contract import complaints
from support.storages import ROOT

REQUEST: dict[str, Any] = {
    "source": {"storage": "cloud", "path": "data"},
    "destination": {"storage": "archive", "path": "2026"},
}
START: dict[str, Any] = {"result": None, "invocations": 0, "stalled": 0, "tries": 0}


def never(_: dict[str, Any]) -> dict[str, Any]:
    raise AssertionError("nothing is to be invoked here")


def ended(state: State, transferred: int = 0, code: str = "") -> dict[str, Any]:
    """What the function answers: a result, or the problem that it is."""
    group = ErrorGroup(code, None, code == "storage_busy", 1, (Sample("a", "no"),))
    result = Result(
        state,
        "rclone",
        Totals(transferred, 0, 1 if code else 0, transferred * 10),
        utc_now(),
        utc_now(),
        None if state is State.SUCCEEDED else code or state.value,
        (group,) if code else (),
    )
    if result.code is None:
        told: dict[str, Any] = result.to_json()
        return told
    return problems.of_result(result.code, result).document


def refused(code: str, *, retryable: bool) -> dict[str, Any]:
    return {"code": code, "retryable": retryable, "detail": "No."}


def divided(count: int = 2, **members: Any) -> Any:
    event = {"divide": {"input": {**REQUEST, **members, "shards": count}, "parallel": "4"}}
    return step_functions.step(event, never)


def copied(answer: Any, progress: Any = START, **members: Any) -> Any:
    request = divided(**members)["request"]
    state = {"request": request, "shard": {"index": 1, "count": 2}, "progress": progress}
    return step_functions.step({"copy": state}, lambda _: answer)


def merged(parts: list[Any], count: int = 2, **members: Any) -> Any:
    return step_functions.step(
        {"merge": {"divided": divided(count, **members), "parts": parts}}, never
    )


def part(index: int, answer: Any, count: int = 2, **more: Any) -> Any:
    return {"shard": {"index": index, "count": count}, "result": answer, **more}


def test_the_events_are_known_to_the_handler() -> None:
    assert step_functions._STEPS.keys() == events.STEPS
    told = handler.handler({"merge": {"nothing": "of ours"}}, None)  # type: ignore[arg-type]
    assert (told["code"], told["status"]) == ("invalid_request", 400)
    assert complaints("problem", told) == []
    with pytest.raises(InvalidRequest):
        step_functions.step({"copy": None}, never)
    others: list[Any] = [
        REQUEST,
        {"copy": {}, "merge": {}},
        {**REQUEST, "plan": {}},
        {},
        [],
        "copy",
    ]
    for event in others:
        assert not events.is_step(event)


def test_the_input_is_a_request_and_how_many_shards() -> None:
    told = divided(12, options={"verify": "size", "report": "all"}, selection={"include": ["*.h5"]})
    assert (told["next"], told["count"], told["parallel"]) == ("copy", 12, 4)
    assert told["indexes"] == list(range(12))
    # What is told has to fit into a state: no lists of files.
    assert told["request"] == {
        **REQUEST,
        "options": {"verify": "size", "report": "summary"},
        "selection": {"include": ["*.h5"]},
    }


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"shards": 0}, "/shards"),
        ({"shards": step_functions.MOST_SHARDS + 1}, "/shards"),
        ({"shards": True}, "/shards"),
        ({"shards": "many"}, "/shards"),
        ({"shards": 2, "selection": {"shard": {"index": 0, "count": 2}}}, "/selection/shard"),
        ({"shards": 2, "options": {"detach": True}}, "/options/detach"),
        ({"shards": 2, "sauce": {}}, "/sauce"),
    ],
)
def test_an_input_that_is_none_is_refused(members: Any, pointer: str) -> None:
    told = step_functions.step(
        {"divide": {"input": {**REQUEST, **members}, "parallel": "4"}}, never
    )
    assert (told["next"], told["code"]) == ("fail", "invalid_request")
    assert pointer in told["cause"]


def test_the_docs_input_is_one() -> None:
    readme = (ROOT / "deploy" / "README.md").read_text("utf-8")
    found = re.search(r"<!-- fan-out.json -->\n```json\n(.*?)```", readme, re.DOTALL)
    assert found is not None
    given = json.loads(found[1])
    told = step_functions.step({"divide": {"input": given, "parallel": "8"}}, never)
    assert (told["next"], told["count"]) == ("copy", given["shards"])
    assert f"up to {step_functions.MOST_SHARDS}" in readme
    assert f"{step_functions.SHARD_RESULT_BYTES} bytes each" in readme


def test_a_plan_says_how_many() -> None:
    asked: list[Any] = []

    def plan(request: dict[str, Any]) -> dict[str, Any]:
        asked.append(request)
        return {"shards": {"count": 9000}}

    given = {**REQUEST, "shards": "auto", "plan": {"rate": 5}}
    told = step_functions.step({"divide": {"input": given, "parallel": "4"}}, plan)
    assert asked == [{**REQUEST, "plan": {"rate": 5}}]
    assert told["count"] == step_functions.MOST_SHARDS
    assert "plan" not in told["request"]
    no = refused("too_large", retryable=False)
    told = step_functions.step({"divide": {"input": REQUEST, "parallel": "4"}}, lambda _: no)
    assert (told["next"], told["code"], told["cause"]) == ("fail", "too_large", "No.")


def test_an_incomplete_shard_goes_on_as_long_as_files_arrive() -> None:
    told = START
    for number in range(1, 6):
        told = copied(ended(State.INCOMPLETE, 3), told)
        assert (told["next"], told["seconds"]) == ("copy", 0)
        assert told["result"]["totals"]["files"]["transferred"] == 3 * number
    for expected in ("copy", "copy", "end"):
        told = copied(ended(State.INCOMPLETE), told)
        assert told["next"] == expected
    assert told["result"]["state"] == "incomplete"


def test_an_incomplete_shard_that_would_begin_anew_ends() -> None:
    assert copied(ended(State.INCOMPLETE, 3), options={"overwrite": "always"})["next"] == "end"


@pytest.mark.parametrize(
    "answer",
    [ended(State.PARTIAL, code="storage_busy"), refused("busy", retryable=True)],
    ids=["storage", "service"],
)
def test_what_can_pass_by_itself_is_tried_again_after_waits_that_grow(answer: Any) -> None:
    told, waits = START, []
    while (told := copied(answer, told))["next"] == "copy":
        waits.append(told["seconds"])
    assert len(waits) == 5
    assert all(isinstance(wait, int) for wait in waits)
    assert waits[0] >= 1
    assert waits[4] >= 16
    assert complaints("result", told["result"]) == []
    # It then succeeds all the same if it does.
    assert copied(ended(State.SUCCEEDED, 1), told)["result"]["state"] == "succeeded"


def test_what_brought_files_has_all_its_tries_again() -> None:
    told = copied(ended(State.PARTIAL, code="storage_busy"))
    told = copied(ended(State.PARTIAL, 1, "storage_busy"), copied(ended(State.PARTIAL), told))
    assert told["tries"] == 1


@pytest.mark.parametrize(
    "answer",
    [
        ended(State.FAILED, code="permission_denied"),
        refused("forbidden", retryable=False),
        refused("unauthenticated", retryable=False),
        ended(State.SUCCEEDED, 2),
    ],
    ids=["failed", "forbidden", "unauthenticated", "succeeded"],
)
def test_what_is_for_good_ends_a_shard(answer: Any) -> None:
    told = copied(answer)
    assert told["next"] == "end"
    assert complaints("result", told["result"]) == []


def test_all_that_was_told_becomes_one_result() -> None:
    told = merged([part(0, ended(State.SUCCEEDED, 2)), part(1, ended(State.SUCCEEDED, 3))])
    assert told["next"] == "check"
    assert told["result"]["totals"]["files"]["transferred"] == 5
    assert complaints("result", told["result"]) == []


def test_a_shard_that_is_lost_is_told() -> None:
    good = part(0, ended(State.SUCCEEDED, 2))
    died = part(1, None, error="States.Timeout")
    # What a child execution leaves that fails without our doing is AWS's own description of it.
    for parts in ([good, died], [good], [good, {"Status": "FAILED", "Cause": "…"}], [good, None]):
        told = merged(parts)
        assert (told["next"], told["code"]) == ("fail", "partial"), parts
        assert json.loads(told["cause"]) == told["result"]
        assert told["result"]["totals"]["files"]["transferred"] == 2
        [group] = told["result"]["errors"]
        assert (group["code"], group["retryable"]) == ("engine_failed", True)
    assert "States.Timeout" in json.dumps(merged([good, died])["result"])
    told = merged([], 3)
    assert (told["next"], told["result"]["state"]) == ("fail", "failed")
    assert sum(group["count"] for group in told["result"]["errors"]) == 3


@pytest.mark.parametrize("options", [{"overwrite": "always"}, {"dry_run": True}])
def test_there_is_no_last_look_that_could_tell_nothing(options: Any) -> None:
    parts = [part(0, ended(State.SUCCEEDED, 2)), part(1, ended(State.SUCCEEDED))]
    assert merged(parts, options=options)["next"] == "end"


def checked(plan: Any, told: Any = None) -> Any:
    parts = [part(0, ended(State.SUCCEEDED, 2)), part(1, ended(State.SUCCEEDED))]
    state = {"divided": divided(), "merged": told or merged(parts)}
    return step_functions.step({"check": state}, lambda _: plan)


def test_the_last_look_finds_nothing_left() -> None:
    told = checked({"files": 0})
    assert (told["next"], told["result"]["state"]) == ("end", "succeeded")
    told = checked({"files": 7})
    assert (told["next"], told["code"]) == ("fail", "incomplete")
    assert told["result"]["totals"]["files"]["transferred"] == 2
    [group] = told["result"]["errors"]
    assert (group["code"], group["count"]) == ("checksum_mismatch", 7)
    assert complaints("result", told["result"]) == []


def test_warnings_of_the_shards_are_in_the_one_result() -> None:
    warning = {"code": "time_not_kept", "message": "m" * 300, "count": 7, "samples": []}
    told = copied({**ended(State.SUCCEEDED, 1), "warnings": [warning]})["result"]
    assert len(json.dumps(told)) <= step_functions.SHARD_RESULT_BYTES + 100  # with spaces
    result = merged([part(0, told), part(1, told)])["result"]
    assert complaints("result", result) == []
    [group] = result["warnings"]
    assert (group["code"], group["count"]) == ("time_not_kept", 14)
    assert group["message"] == WARNINGS["time_not_kept"]


def test_a_last_look_that_fails_is_no_success() -> None:
    told = checked(refused("permission_denied", retryable=False))
    assert (told["next"], told["code"]) == ("fail", "incomplete")
    told, looks = None, 0
    while (told := checked(refused("storage_busy", retryable=True), told))["next"] == "check":
        looks += 1
        assert told["seconds"] >= 1
    assert (looks, told["next"], told["code"]) == (5, "fail", "incomplete")


def test_all_shards_there_may_be_fit_into_a_state() -> None:
    count = step_functions.MOST_SHARDS
    samples = tuple(Sample("path/" + "ü" * 200, "m" * 900) for _ in range(5))
    groups = tuple(
        ErrorGroup(code, None, False, 99999, samples)
        for code in ("permission_denied", "storage_error", "storage_unreachable")
    )
    worst = Result(
        State.PARTIAL,
        "rclone",
        Totals(10**9, 10**9, 10**9, 10**15),
        utc_now(),
        utc_now(),
        "partial",
        groups,
    )
    request = divided(count, id="i" * 100)["request"]
    state = {"request": request, "shard": {"index": 1, "count": count}, "progress": START}
    problem = problems.of_result("partial", worst).document
    told = step_functions.step({"copy": state}, lambda _: problem)["result"]
    assert len(told["errors"]) >= 2
    parts = [part(399, told, count)] * count
    whole = {"divided": divided(count), "outcome": parts}
    # Of 256 KiB 25 KB are left to the request, in JSON that is written with spaces.
    assert len(json.dumps(whole, ensure_ascii=False).encode()) < (256 << 10) - 25_000
