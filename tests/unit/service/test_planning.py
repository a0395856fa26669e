"""What follows from a look: times, shards, and what cannot work."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from efss_transfer.contract.request_parser import PlanOptions, parse, parse_plan
from efss_transfer.engines.base import Survey
from efss_transfer.model.errors import InvalidRequest
from efss_transfer.model.request import Options, Selection, TransferRequest
from efss_transfer.model.result import Result, Shard, State, Totals
from efss_transfer.runtimes.aws import events
from efss_transfer.service.planning import Plan, reckoned
from support.contract import EXAMPLES, complaints

MINIMAL = json.loads((EXAMPLES / "valid/minimal.json").read_text("utf-8"))
NOW = datetime(2026, 11, 23, tzinfo=UTC)
SEEN = Survey(
    Result(State.SUCCEEDED, "rclone", Totals(), NOW, NOW),
    files=50_000,
    bytes=200_000_000_000,
    largest=("raw/a.h5", 4_000_000_000),
    there=120,
    seconds=12.4,
)
GIVEN = PlanOptions(rate=50_000_000, seconds=840)


def request(**members: Any) -> TransferRequest:
    return replace(parse(json.dumps(MINIMAL).encode()), **members)


def made(survey: Survey = SEEN, reckoning: PlanOptions = GIVEN, **members: Any) -> Plan:
    plan = reckoned(request(**members), survey, reckoning, 3600)
    assert complaints("plan", plan.to_json()) == []
    return plan


def codes(plan: Plan) -> list[str]:
    return [refusal.code for refusal in plan.refusals]


def test_the_larger_of_bytes_and_files_is_what_it_takes() -> None:
    by_bytes = made()
    assert by_bytes.work == 4000
    by_files = made(replace(SEEN, files=200_000))
    assert by_files.work == 8000
    assert made(replace(SEEN, files=200_000), replace(GIVEN, files_per_second=100)).work == 4000


def test_every_shard_has_time_to_look_and_a_margin() -> None:
    plan = made()
    assert plan.count == 7
    assert 4000 / 7 + 12.4 <= 0.7 * 840 < 4000 / 6 + 12.4
    shards = plan.to_json()["shards"]
    assert shards["files"] == 7143
    assert shards["bytes"] == 28_571_428_572
    assert shards["seconds"] == pytest.approx(583.829)


def test_the_services_own_time_is_the_limit_where_none_is_given() -> None:
    plan = made(reckoning=PlanOptions(rate=50_000_000))
    assert (plan.limit, plan.count) == (3600, 2)


def test_where_the_rate_is_from_is_told() -> None:
    assert made().basis == "given"
    measured = made(replace(SEEN, rate=80e6), PlanOptions())
    assert (measured.basis, measured.rate) == ("measured", 80e6)
    assert made(reckoning=PlanOptions()).basis == "assumed"
    limited = made(options=Options(bandwidth_limit=1_000_000))
    assert (limited.rate, limited.basis) == (1_000_000, "given")


def test_there_are_no_more_shards_than_files_nor_than_a_request_can_name() -> None:
    few = replace(SEEN, files=3, bytes=6_000_000_000_000, largest=None)
    assert made(few).count == 3
    many = replace(SEEN, files=10**9, bytes=10**18)
    assert made(many).count == 10_000
    shard = Selection(shard=Shard(1, 4))
    assert made(many, selection=shard).count == 10_000
    assert made(selection=shard).count == 28
    assert made(replace(SEEN, files=0, bytes=0, largest=None)).count == 1


def test_a_file_that_is_too_large_is_refused_unless_the_rate_is_a_guess() -> None:
    large = replace(SEEN, largest=("a", 50_000_000_000))
    assert codes(made(large)) == ["too_large"]
    assert codes(made(large, replace(GIVEN, seconds=1100))) == []
    assert codes(made(replace(large, rate=50e6), PlanOptions(seconds=840))) == ["too_large"]
    assert codes(made(large, PlanOptions(seconds=840))) == []


def test_a_look_that_leaves_no_time_is_refused() -> None:
    assert codes(made(replace(SEEN, seconds=900))) == ["too_large"]


def test_a_destination_without_room_is_refused_and_all_reasons_are_told() -> None:
    assert codes(made(replace(SEEN, free=SEEN.bytes))) == []
    full = replace(SEEN, free=SEEN.bytes - 1, largest=("a", 10**12))
    assert codes(made(full)) == ["quota_exceeded", "too_large"]


def test_a_plans_request_is_checked_as_a_transfers() -> None:
    body = {**MINIMAL, "plan": {"rate": 5, "seconds": 9.5}}
    asked, reckoning = parse_plan(json.dumps(body).encode())
    assert asked == parse(json.dumps(MINIMAL).encode())
    assert reckoning == PlanOptions(rate=5, seconds=9.5)
    assert parse_plan(json.dumps(MINIMAL).encode())[1] == PlanOptions()
    wrong = {**body, "plan": {"rate": -1}, "selection": {"shard": {"index": 0}}, "more": 1}
    with pytest.raises(InvalidRequest) as refused:
        parse_plan(json.dumps(wrong).encode())
    told = [(it.pointer, it.keyword) for it in refused.value.violations]
    assert told == [
        ("/more", "unevaluatedProperties"),
        ("/plan/rate", "minimum"),
        ("/selection/shard", "required"),
    ]
    with pytest.raises(InvalidRequest):
        parse(json.dumps(body).encode())


@pytest.mark.parametrize(("member", "path"), [({}, "/"), ({"plan": {}}, "/plan")])
def test_a_bare_event_with_a_plan_is_a_plans(member: Any, path: str) -> None:
    assert events.read({**MINIMAL, **member}).path == path
