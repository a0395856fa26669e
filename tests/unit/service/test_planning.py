"""The plan that follows from a survey: times, shards, and reasons why it cannot work."""

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
from efss_transfer.service.planning import Plan, make_plan
from support.contract import EXAMPLES, complaints

MINIMAL = json.loads((EXAMPLES / "valid/minimal.json").read_text("utf-8"))
NOW = datetime(2026, 11, 23, tzinfo=UTC)
SURVEY = Survey(
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


def planned(survey: Survey = SURVEY, plan_options: PlanOptions = GIVEN, **members: Any) -> Plan:
    plan = make_plan(request(**members), survey, plan_options, 3600)
    assert complaints("plan", plan.to_json()) == []
    return plan


def codes(plan: Plan) -> list[str]:
    return [refusal.code for refusal in plan.refusals]


def test_copy_time_is_the_larger_of_bytes_and_files() -> None:
    by_bytes = planned()
    assert by_bytes.copy_seconds == 4000
    by_files = planned(replace(SURVEY, files=200_000))
    assert by_files.copy_seconds == 8000
    assert (
        planned(replace(SURVEY, files=200_000), replace(GIVEN, files_per_second=100)).copy_seconds
        == 4000
    )


def test_every_shard_has_time_for_the_survey_and_a_margin() -> None:
    plan = planned()
    assert plan.shard_count == 7
    assert 4000 / 7 + 12.4 <= 0.7 * 840 < 4000 / 6 + 12.4
    shards = plan.to_json()["shards"]
    assert shards["files"] == 7143
    assert shards["bytes"] == 28_571_428_572
    assert shards["seconds"] == pytest.approx(583.829)


def test_limit_defaults_to_the_duration_of_the_service() -> None:
    plan = planned(plan_options=PlanOptions(rate=50_000_000))
    assert (plan.limit_seconds, plan.shard_count) == (3600, 2)


def test_basis_says_where_the_rate_comes_from() -> None:
    assert planned().basis == "given"
    measured = planned(replace(SURVEY, rate=80e6), PlanOptions())
    assert (measured.basis, measured.rate) == ("measured", 80e6)
    assert planned(plan_options=PlanOptions()).basis == "assumed"
    limited = planned(options=Options(bandwidth_limit=1_000_000))
    assert (limited.rate, limited.basis) == (1_000_000, "given")


def test_shards_are_limited_by_files_and_by_the_schema() -> None:
    few = replace(SURVEY, files=3, bytes=6_000_000_000_000, largest=None)
    assert planned(few).shard_count == 3
    many = replace(SURVEY, files=10**9, bytes=10**18)
    assert planned(many).shard_count == 10_000
    shard = Selection(shard=Shard(1, 4))
    assert planned(many, selection=shard).shard_count == 10_000
    assert planned(selection=shard).shard_count == 28
    assert planned(replace(SURVEY, files=0, bytes=0, largest=None)).shard_count == 1


def test_too_large_file_is_refused_unless_the_rate_is_assumed() -> None:
    large = replace(SURVEY, largest=("a", 50_000_000_000))
    assert codes(planned(large)) == ["too_large"]
    assert codes(planned(large, replace(GIVEN, seconds=1100))) == []
    assert codes(planned(replace(large, rate=50e6), PlanOptions(seconds=840))) == ["too_large"]
    assert codes(planned(large, PlanOptions(seconds=840))) == []


def test_survey_that_leaves_no_time_to_copy_is_refused() -> None:
    assert codes(planned(replace(SURVEY, seconds=900))) == ["too_large"]


def test_full_destination_is_refused_and_all_reasons_are_listed() -> None:
    assert codes(planned(replace(SURVEY, free=SURVEY.bytes))) == []
    full = replace(SURVEY, free=SURVEY.bytes - 1, largest=("a", 10**12))
    assert codes(planned(full)) == ["quota_exceeded", "too_large"]


def test_plan_request_is_validated_like_a_transfer_request() -> None:
    body = {**MINIMAL, "plan": {"rate": 5, "seconds": 9.5}}
    transfer, options = parse_plan(json.dumps(body).encode())
    assert transfer == parse(json.dumps(MINIMAL).encode())
    assert options == PlanOptions(rate=5, seconds=9.5)
    assert parse_plan(json.dumps(MINIMAL).encode())[1] == PlanOptions()
    wrong = {**body, "plan": {"rate": -1}, "selection": {"shard": {"index": 0}}, "more": 1}
    with pytest.raises(InvalidRequest) as refused:
        parse_plan(json.dumps(wrong).encode())
    found = [(it.pointer, it.keyword) for it in refused.value.violations]
    assert found == [
        ("/more", "unevaluatedProperties"),
        ("/plan/rate", "minimum"),
        ("/selection/shard", "required"),
    ]
    with pytest.raises(InvalidRequest):
        parse(json.dumps(body).encode())


@pytest.mark.parametrize(("member", "path"), [({}, "/"), ({"plan": {}}, "/plan")])
def test_bare_event_with_member_plan_is_a_plan_request(member: Any, path: str) -> None:
    assert events.parse({**MINIMAL, **member}).path == path
