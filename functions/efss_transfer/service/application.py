"""The service itself: a call in, an answer out, whatever runtime brings the one and takes
the other. What a runtime has of its own stands in its adapter: `app`, `asgi`,
`aws_lambda`, `openwhisk`, `nuclio`.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final, Self
from uuid import uuid4

from efss_transfer import __version__
from efss_transfer.auth.admission import Admission
from efss_transfer.config.settings import Settings, behind_a_proxy
from efss_transfer.contract import problems, request_parser, schemas
from efss_transfer.engines import registry
from efss_transfer.engines.base import Engine
from efss_transfer.model.errors import (
    EfssTransferError,
    EngineError,
    LookUnfinished,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
)
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import State
from efss_transfer.service import http_messages, logs, page, planning, runner
from efss_transfer.service.concurrency import ConcurrencyLimit
from efss_transfer.service.http_messages import JSON, STREAMS, Request, Response
from efss_transfer.service.metrics import Metrics
from efss_transfer.service.openapi import description
from efss_transfer.service.runner import RunParameters
from efss_transfer.site import policy, site_file
from efss_transfer.site.site_file import Caller, Site
from efss_transfer.site.storages import Storages

if TYPE_CHECKING:
    from efss_transfer.service.webhook import Notifier

_LOG: Final = logging.getLogger(__name__)


class Service:
    """One instance serves a process, from many threads at once."""

    def __init__(
        self,
        settings: Settings,
        site: Site,
        engines: Mapping[str, Engine],
        *,
        proxied: bool = False,
    ) -> None:
        """`proxied` as Admission has it."""
        self.settings: Final = settings
        self._site = site
        self._admission = Admission(site, proxied=proxied)
        self._engines = engines
        self._storages = Storages(site)
        self._capacity = ConcurrencyLimit(settings.concurrent_transfers)
        self._metrics = Metrics()

    @classmethod
    def configured(cls, *, log: bool = True) -> Self:
        """The service as the environment sets it. Raises ConfigurationError.

        `log` is whether its log is written to stderr, as the environment sets that.
        """
        settings = Settings.read(os.environ)
        site = Site()
        if settings.site is not None:
            site = site_file.read(settings.site)
            settings = Settings.read(os.environ, site.settings())
        if log:
            logs.configure(settings.log_level, settings.log_format)
        return cls(settings, site, registry.engines(settings), proxied=behind_a_proxy(os.environ))

    def answer(self, call: Request) -> Response:
        """Answer a call. Never raises: whatever happens has an answer of its own."""
        # What is known of the request, for the log; more is added where it becomes known.
        about = logs.trace(call.header("traceparent"))
        try:
            return self._route(call, about)
        except EfssTransferError as error:
            if not isinstance(error, EngineError):  # that is a transfer's end, and told as such
                self._refused(error, about)
            return http_messages.told(problems.of_error(error), early=True)
        except Exception as error:  # noqa: BLE001 - no caller may see a traceback
            runner.log_defect(error, about)
            return http_messages.told(problems.of_defect())

    @cached_property
    def _notifier(self) -> Notifier:
        # Here and not above: an HTTP client and its like, for which a start must not wait.
        from efss_transfer.service.webhook import Notifier

        return Notifier(self._site)

    def _refused(self, error: EfssTransferError, about: dict[str, str]) -> None:
        self._metrics.refused(error.code)
        extra = logs.line("refused", about, code=error.code, status=error.status)
        _LOG.info("refused: %s", error.code, extra=extra)

    def _route(self, call: Request, about: dict[str, str]) -> Response:
        path = call.path.rstrip("/") or "/"
        if path == "/" and call.method == "POST":
            return self._transfer(call, about)
        if path == "/plan":
            if call.method != "POST":
                raise MethodNotAllowed(("POST",))
            return self._plan(call, about)
        known: dict[str, Callable[[], Response]] = {
            "/": partial(self._describe, call.header("Accept")),
            "/healthz": self._health,
            "/metrics": lambda: self._measured(call.header("Accept") or ""),
            "/openapi.json": lambda: http_messages.of_json(description.description()),
        }
        for name in schemas.NAMES:
            served = partial(http_messages.of_json, schemas.schema(name), "application/schema+json")
            known[f"/schema/{name}"] = known[f"/schema/{schemas.VERSION}/{name}"] = served
        if path not in known:
            raise NotFound("GET / lists what there is.")
        if call.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(("GET", "HEAD", "POST") if path == "/" else ("GET", "HEAD"))
        return known[path]()

    def _transfer(self, call: Request, about: dict[str, str]) -> Response:
        # Request in: from somebody who may ask, and validated for security and for sense.
        name, caller = self._admitted(call, about)
        accepted = call.representation()
        named = partial(self._storages.endpoint, caller)
        asked = request_parser.parse(http_messages.body(call, self.settings.body_bytes), named)
        engine, request, terms = self._terms(call, about, name, caller, asked)
        notify = None
        if asked.notify is not None:
            notify = self._notifier.prepared(asked.notify, terms.about["transfer"])
        # One transfer, for as long as somebody waits for it.
        with self._capacity.place(name, caller.limits.concurrent_transfers) as place:
            run = runner.events(request, engine, replace(terms, notify=notify))
            most = self.settings.response_bytes
            if accepted in STREAMS:
                return http_messages.streamed(run, place, accepted, most)
            return http_messages.of_result(
                runner.result(run, asked.options.report, most), most, call.fits
            )

    def _plan(self, call: Request, about: dict[str, str]) -> Response:
        # As a transfer is let in, because it looks at the same storages; and then one look.
        name, caller = self._admitted(call, about)
        if call.representation() in STREAMS:
            raise NotAcceptable(f"A plan is {JSON}; there is no stream of it.")
        named = partial(self._storages.endpoint, caller)
        asked, reckoning = request_parser.parse_plan(
            http_messages.body(call, self.settings.body_bytes), named
        )
        engine, request, terms = self._terms(call, about, name, caller, asked)
        with self._capacity.place(name, caller.limits.concurrent_transfers):
            survey = planning.surveyed(request, engine, terms, measure=reckoning.rate is None)
        result = replace(survey.result, id=asked.id, shard=asked.selection.shard)
        if result.state is State.INCOMPLETE:
            error = LookUnfinished(
                f"In {terms.duration_seconds:.0f} s not all was seen. Plan folders of the source "
                "by themselves, or where there is more time."
            )
            return http_messages.told(problems.of_error(error))
        if result.code is not None:
            return http_messages.of_result(result, self.settings.response_bytes, call.fits)
        plan = planning.reckoned(asked, survey, reckoning, terms.duration_seconds)
        if plan.refusals:
            reasons = [(refusal.code, refusal.message) for refusal in plan.refusals]
            return http_messages.told(problems.of_plan(reasons, plan.to_json()))
        return http_messages.of_json(plan.to_json())

    def _admitted(self, call: Request, about: dict[str, str]) -> tuple[str, Caller]:
        name, caller = self._admission.admit(
            call.header("Authorization"), call.remote, call.header("Origin"), vouched=call.vouched
        )
        about["caller"] = name
        return name, caller

    def _terms(
        self,
        call: Request,
        about: dict[str, str],
        name: str,
        caller: Caller,
        asked: TransferRequest,
    ) -> tuple[Engine, TransferRequest, RunParameters]:
        """By which engine, as what, and on what terms a request may run, if it may."""
        if asked.id is not None:
            about["request_id"] = asked.id
        if asked.selection.shard is not None:
            about["shard"] = str(asked.selection.shard)
        engine = self._engines[asked.engine]
        admitted = policy.admit(asked, self._site, caller, engine)
        limits = self._site.limits.within(caller.limits)
        duration = min(
            self.settings.duration_seconds,
            limits.duration_seconds or math.inf,
            asked.options.deadline_seconds or math.inf,
            call.seconds,
        )
        terms = RunParameters(
            name,
            duration,
            limits,
            admitted.egress,
            interrupted=call.interrupted,
            metrics=self._metrics,
            about={**about, "transfer": uuid4().hex},
        )
        return engine, admitted.request, terms

    def _describe(self, accept: str | None) -> Response:
        if page.wanted(accept):
            return Response(200, page.headers(), page.content())
        types = schemas.schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"]
        described = http_messages.of_json(
            {
                "name": "efss-transfer",
                "version": __version__,
                "description": "POST a request here to copy from one storage to another.",
                "engines": sorted(self._engines),
                "storage_types": types,
                "links": {
                    "health": "/healthz",
                    "metrics": "/metrics",
                    "plan": "/plan",
                    "openapi": "/openapi.json",
                    "schemas": {
                        name: f"/schema/{schemas.VERSION}/{name}" for name in schemas.NAMES
                    },
                },
            }
        )
        return replace(described, headers={**described.headers, "Vary": "Accept"})

    def _measured(self, accept: str) -> Response:
        numbers, kind = self._metrics.exposed(accept)
        return Response(200, http_messages.headers(kind), numbers)

    def _health(self) -> Response:
        engines = {name: engine.health() for name, engine in self._engines.items()}
        usable = all(health.usable for health in engines.values())
        return http_messages.of_json(
            {
                "status": "ok" if usable else "unusable",
                "version": __version__,
                "authentication": self._site.authentication["mode"],
                "engines": {name: health.to_json() for name, health in engines.items()},
            },
            status=200 if usable else 503,
        )
