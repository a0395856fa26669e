"""What a transfer would take: one look at both ends, and what follows from it.

What is reckoned with, and where it comes from:

    rate              given by the caller; or read of the largest file, within three seconds, in
                      one stream; or, if no file is large enough for that, 50 MB/s, assumed
    files a second    given, or 25: rclone 1.75 stored 2,000 files of 4 KB to a WebDAV server on
                      the same machine in 69 s at its defaults (29 a second), and no other pair of
                      storages that was measured was slower
    look              measured: from the start of the engine until both sides were listed. Each
                      shard lists them again.
    margin            0.7 of an invocation: no file is begun in its last tenth, and shards are
                      chosen by a hash, so that some have more than the average

    work  = max(bytes / rate, files / files a second)
    count = work / (0.7 x seconds of an invocation - look), rounded up
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Final, Literal

from efss_transfer.contract.request_parser import PlanOptions
from efss_transfer.engines.base import Context, Engine, Survey, Unobserved
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import Json, Shard
from efss_transfer.service import logs, runner
from efss_transfer.service.metrics import Metrics
from efss_transfer.service.runner import RunParameters

_ASSUMED_RATE: Final = 50_000_000.0
_ASSUMED_FILES_PER_SECOND: Final = 25.0
_MARGIN: Final = 0.7
_MOST_SHARDS: Final = 10_000

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refusal:
    """Why what is planned cannot work: a stable code, and a text to read."""

    code: str
    message: str


@dataclass(frozen=True)
class Plan:
    """What a transfer would copy, how long it takes, and into how many shards to divide it.

    `work` is the seconds of the copy itself, `limit` those of one invocation. `refusals` say
    why it cannot work; nothing if it can.
    """

    engine: str
    survey: Survey
    rate: float
    files_per_second: float
    basis: Literal["given", "measured", "assumed"]
    limit: float
    work: float
    parts: int
    refusals: tuple[Refusal, ...] = ()
    id: str | None = None
    shard: Shard | None = None

    @property
    def count(self) -> int:
        """The count of shards for all: what was looked at may be one shard of several."""
        whole = self.parts * (1 if self.shard is None else self.shard.count)
        return min(whole, _MOST_SHARDS)

    def to_json(self) -> dict[str, Json]:
        """The plan, as schema/plan.schema.json has it."""
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
            "transfer": round(survey.seconds + self.work, 3),
            "limit": round(self.limit, 3),
        }
        json["shards"] = {
            "count": self.count,
            "files": math.ceil(survey.files / self.parts),
            "bytes": math.ceil(survey.bytes / self.parts),
            "seconds": round(survey.seconds + self.work / self.parts, 3),
        }
        return json


class _Boots(Unobserved):
    """An observer that counts how long the engine took to boot."""

    def __init__(self, engine: str, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics

    def booted(self, seconds: float) -> None:
        """As the protocol `Observer` says."""
        self._metrics.booted(self._engine, seconds)


def surveyed(
    request: TransferRequest, engine: Engine, terms: RunParameters, *, measure: bool
) -> Survey:
    """Look at both ends once; as long as there is time, and somebody waits for it.

    Raises EngineError if the engine could not begin.
    """
    began = time.monotonic()
    context = Context(
        deadline=runner.deadline(began, terms.duration_seconds),
        interrupted=terms.interrupted,
        egress=terms.egress,
        limits=terms.limits,
        observer=_Boots(request.engine, terms.metrics),
    )
    _log(terms, "plan.started", "begins")
    looking = engine.survey(request, context, measure=measure)
    with closing(looking):
        try:
            while True:
                next(looking)
        except StopIteration as end:
            survey: Survey = end.value
    result = survey.result
    _log(
        terms,
        "plan.ended",
        f"{result.state.value}, {survey.files} files, {survey.bytes} bytes",
        state=result.state.value,
        code=result.code,
        seconds=round(time.monotonic() - began, 3),
    )
    return survey


def reckoned(
    request: TransferRequest, survey: Survey, reckoning: PlanOptions, seconds: float
) -> Plan:
    """What follows from a look that has succeeded, for invocations of so many seconds."""
    limit = reckoning.seconds or seconds
    basis: Literal["given", "measured", "assumed"] = "assumed"
    rate = _ASSUMED_RATE
    if reckoning.rate is not None:
        rate, basis = reckoning.rate, "given"
    elif survey.rate is not None:
        rate, basis = survey.rate, "measured"
    if request.options.bandwidth_limit is not None:
        rate = min(rate, request.options.bandwidth_limit)
    files_per_second = reckoning.files_per_second or _ASSUMED_FILES_PER_SECOND
    work = max(survey.bytes / rate, survey.files / files_per_second)
    room = limit * _MARGIN - survey.seconds
    parts = math.ceil(work / room) if room > 0 else 1
    return Plan(
        engine=request.engine,
        survey=survey,
        rate=rate,
        files_per_second=files_per_second,
        basis=basis,
        limit=limit,
        work=work,
        parts=max(1, min(parts, survey.files, _MOST_SHARDS)),
        refusals=tuple(_refusals(survey, rate, limit, guessed=basis == "assumed")),
        id=request.id,
        shard=request.selection.shard,
    )


def _refusals(survey: Survey, rate: float, limit: float, *, guessed: bool) -> list[Refusal]:
    found = []
    if survey.free is not None and survey.bytes > survey.free:
        text = f"The destination has room for {survey.free} bytes; {survey.bytes} are to be copied."
        found.append(Refusal("quota_exceeded", text))
    carried = runner.deadline(0.0, limit) - survey.seconds
    if carried <= 0:
        text = (
            f"Looking at both sides takes {survey.seconds:.0f} s of the {limit:.0f} s that an "
            "invocation has: copy folders of the source by themselves, or give it more time."
        )
        found.append(Refusal("too_large", text))
    elif survey.largest is not None and not guessed and survey.largest[1] / rate > carried:
        text = (
            f"A file of {survey.largest[1]} bytes takes {survey.largest[1] / rate:.0f} s at "
            f"{rate:.0f} bytes a second, and an invocation has {carried:.0f} s for it."
        )
        found.append(Refusal("too_large", text))
    return found


def _log(terms: RunParameters, event: str, text: str, **more: Json) -> None:
    about = logs.line(event, terms.about, **more)
    _LOG.info("plan for %r: %s", terms.caller, text, extra=about)
