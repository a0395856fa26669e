"""Plans a transfer: one survey of both sides, and the time and the shards that follow from it.

rate              given by the caller; or measured: the largest file is read for at most three
                  seconds, in one stream; or, if no file is large enough, 50 MB/s is assumed
files a second    given, or 25: rclone 1.75 stored 2,000 files of 4 KB to a WebDAV server on
                  the same machine in 69 s at its defaults (29 a second), and no other pair of
                  storages that was measured was slower
survey            measured: from the start of the engine until both sides were listed; each
                  shard repeats it
margin            0.7 of an invocation: no file is started in its last tenth, and shards are
                  chosen by a hash, so some have more than the average

copy  = max(bytes / rate, files / files a second)
count = copy / (0.7 x seconds of an invocation - survey), rounded up
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

from efss_transfer.contract.request_parser import PlanOptions
from efss_transfer.engines.base import Engine, Survey, outcome_of
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import Json, Shard
from efss_transfer.service import log_sentences, runner
from efss_transfer.service.look_record import recorded
from efss_transfer.service.runner import RunParameters

_ASSUMED_RATE: Final = 50_000_000.0
_ASSUMED_FILES_PER_SECOND: Final = 25.0
_MARGIN: Final = 0.7
_MAX_SHARDS: Final = 10_000

Basis = Literal["given", "measured", "assumed"]


@dataclass(frozen=True)
class Refusal:
    """A reason why the planned transfer cannot work: a stable code, and a text for the caller."""

    code: str
    message: str


@dataclass(frozen=True)
class Plan:
    """What a transfer would copy, how long that takes, and how many shards it needs.

    `limit_seconds` is the time of one invocation, `copy_seconds` the time of the copy without
    the survey. `parts` is the number of shards for the files that were surveyed. `refusals` is
    empty if the transfer can work.
    """

    engine: str
    survey: Survey
    rate: float
    files_per_second: float
    basis: Basis
    limit_seconds: float
    copy_seconds: float
    parts: int
    refusals: tuple[Refusal, ...] = ()
    id: str | None = None
    shard: Shard | None = None

    @property
    def shard_count(self) -> int:
        """The number of shards for the whole transfer: the survey may have seen one shard only."""
        total = self.parts * (1 if self.shard is None else self.shard.count)
        return min(total, _MAX_SHARDS)

    def to_json(self) -> dict[str, Json]:
        """The plan in the form of schema/plan.schema.json."""
        survey = self.survey
        json: dict[str, Json] = {} if self.id is None else {"id": self.id}
        json["engine"] = self.engine
        if self.shard is not None:
            json["shard"] = self.shard.to_json()
        json |= {"files": survey.files, "bytes": survey.bytes}
        if survey.unsized:
            json["unsized"] = survey.unsized
        if survey.largest is not None:
            json["largest"] = {"path": survey.largest[0], "bytes": survey.largest[1]}
        json["there"] = survey.there
        if survey.free is not None:
            json["free"] = survey.free
        json["rate"] = {
            "bytes_per_second": round(self.rate, 1),
            "files_per_second": round(self.files_per_second, 3),
            "basis": self.basis,
        }
        json["seconds"] = {
            "look": round(survey.seconds, 3),
            "transfer": round(survey.seconds + self.copy_seconds, 3),
            "limit": round(self.limit_seconds, 3),
        }
        json["shards"] = {
            "count": self.shard_count,
            "files": math.ceil(survey.files / self.parts),
            "bytes": math.ceil(survey.bytes / self.parts),
            "seconds": round(survey.seconds + self.copy_seconds / self.parts, 3),
        }
        return json


def run_survey(
    request: TransferRequest, engine: Engine, parameters: RunParameters, *, measure: bool
) -> Survey:
    """Survey both sides once, until the deadline or an interruption, whatever runs already.

    With `measure` the rate of the source is measured, too. Raises EngineError if the engine could
    not start.
    """
    request = replace(request, options=replace(request.options, detach=False))
    with recorded("plan", log_sentences.ends(request), parameters) as record:
        context = runner.reading_context(request.engine, record.began, parameters)
        survey = outcome_of(engine.survey(request, context, measure=measure))
    result = survey.result
    state = result.state.value if result.code is None else f"{result.state.value} ({result.code})"
    record.ended(
        f"survey {state}, files: {survey.files}, bytes: {survey.bytes}",
        result.code,
        state=result.state.value,
        files=survey.files,
        bytes=survey.bytes,
    )
    return survey


def make_plan(
    request: TransferRequest, survey: Survey, options: PlanOptions, duration_seconds: float
) -> Plan:
    """The plan that follows from a successful survey.

    `duration_seconds` is the time of one invocation, unless the options set another.
    """
    limit = options.seconds or duration_seconds
    basis: Basis = "assumed"
    rate = _ASSUMED_RATE
    if options.rate is not None:
        rate, basis = options.rate, "given"
    elif survey.rate is not None:
        rate, basis = survey.rate, "measured"
    if request.options.bandwidth_limit is not None:
        rate = min(rate, request.options.bandwidth_limit)
    files_per_second = options.files_per_second or _ASSUMED_FILES_PER_SECOND
    copy_seconds = max(survey.bytes / rate, survey.files / files_per_second)
    usable = limit * _MARGIN - survey.seconds
    parts = math.ceil(copy_seconds / usable) if usable > 0 else 1
    return Plan(
        engine=request.engine,
        survey=survey,
        rate=rate,
        files_per_second=files_per_second,
        basis=basis,
        limit_seconds=limit,
        copy_seconds=copy_seconds,
        parts=max(1, min(parts, survey.files, _MAX_SHARDS)),
        refusals=tuple(_refusals(survey, rate, limit, assumed=basis == "assumed")),
        id=request.id,
        shard=request.selection.shard,
    )


def _refusals(survey: Survey, rate: float, limit: float, *, assumed: bool) -> list[Refusal]:
    found = []
    if survey.free is not None and survey.bytes > survey.free:
        text = (
            f"The destination has {survey.free} bytes free, but {survey.bytes} bytes are to be "
            "copied. Free space at the destination, or copy less."
        )
        found.append(Refusal("quota_exceeded", text))
    available = runner.deadline(0.0, limit) - survey.seconds
    if available <= 0:
        text = (
            f"The survey of both sides takes {survey.seconds:.0f} s of the {limit:.0f} s that an "
            "invocation has, which leaves no time to copy. Copy folders of the source "
            "separately, or allow an invocation more time."
        )
        found.append(Refusal("too_large", text))
    elif survey.largest is not None and not assumed and survey.largest[1] / rate > available:
        text = (
            f"The largest file has {survey.largest[1]} bytes and takes "
            f"{survey.largest[1] / rate:.0f} s at {rate:.0f} bytes a second, but an invocation has "
            f"{available:.0f} s for it. Allow an invocation more time."
        )
        found.append(Refusal("too_large", text))
    return found
