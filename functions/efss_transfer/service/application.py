"""The service: answers a request, whatever runtime it came through.

The adapters in `runtimes` translate between their runtime and `Request` and `Response`.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final, Self
from uuid import uuid4

from efss_transfer import __version__
from efss_transfer.auth.admission import Admission
from efss_transfer.config.platforms import behind_platform_proxy
from efss_transfer.config.resources import raise_descriptor_limit
from efss_transfer.config.settings import Settings
from efss_transfer.contract import problems, request_parser, schemas
from efss_transfer.egress.rules import Egress
from efss_transfer.engines import registry
from efss_transfer.engines.base import Engine
from efss_transfer.model.errors import (
    EfssTransferError,
    EngineError,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    SurveyIncomplete,
    lack_of_threads,
)
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import State
from efss_transfer.service import http_messages, logs, page, refusals, runner
from efss_transfer.service.concurrency import ConcurrencyLimit
from efss_transfer.service.http_messages import JSON, STREAMS, Request, Response
from efss_transfer.service.metrics import Metrics
from efss_transfer.service.runner import RunParameters
from efss_transfer.site import engine_rules, policy, site_file
from efss_transfer.site.site_file import Caller, Site
from efss_transfer.site.storages import Storages

if TYPE_CHECKING:
    from efss_transfer.service.looks import Looks
    from efss_transfer.service.webhook import Notifier


class Service:
    """The service. One instance serves a process; it is thread-safe."""

    def __init__(
        self,
        settings: Settings,
        site: Site,
        engines: Mapping[str, Engine],
        *,
        proxied: bool = False,
    ) -> None:
        """`proxied` is `behind_proxy` of Admission."""
        self.settings: Final = settings
        self._site = site
        self._admission = Admission(site, behind_proxy=proxied)
        self._engines = engines
        # Only the site's own are described; any other that is asked for is refused by the policy.
        self._offered = {name: it for name, it in engines.items() if name in site.engines}
        self._storages = Storages(site)
        self._concurrency = ConcurrencyLimit(settings.concurrent_transfers)
        self._metrics = Metrics()

    @classmethod
    def from_environment(cls, *, log: bool = True, site: Site | None = None) -> Self:
        """The service that the environment configures. Raises ConfigurationError.

        With `log` it writes its log to stderr, at the level and in the format that the
        environment sets. `site` takes the place of the site file that the environment names.
        """
        raise_descriptor_limit()
        settings = Settings.read(os.environ)
        if site is None:
            site = Site() if settings.site is None else site_file.read(settings.site)
        settings = Settings.read(os.environ, site.settings())
        if log:
            logs.configure(settings.log_level, settings.log_format)
        return cls(
            settings, site, registry.engines(settings), proxied=behind_platform_proxy(os.environ)
        )

    def answer(self, request: Request) -> Response:
        """Answer a request. Never raises: every error becomes a problem document."""
        # Members of every log line about this request; the methods below add what they learn.
        log_context = logs.trace_context(request.header("traceparent"))
        began = time.monotonic()
        try:
            return self._route(request, log_context)
        except EfssTransferError as error:
            if not isinstance(error, EngineError):  # the runner has logged and counted that one
                refusals.record(error, self._metrics, log_context, began)
            return http_messages.problem_response(problems.of_error(error), request_unread=True)
        except Exception as error:  # noqa: BLE001 - no caller may see a traceback
            if (lack := lack_of_threads(error)) is not None:
                refusals.record(lack, self._metrics, log_context, began)
                return http_messages.problem_response(problems.of_error(lack), request_unread=True)
            runner.log_internal_error(error, log_context)
            return http_messages.problem_response(problems.of_defect())

    @cached_property
    def _notifier(self) -> Notifier:
        # Imported here because it needs an HTTP client, which would slow every start down.
        from efss_transfer.service.webhook import Notifier

        return Notifier(self._site)

    @cached_property
    def _looks(self) -> Looks:
        # Imported here, as the plan's survey: a cold start on AWS Lambda need not pay for it.
        from efss_transfer.service.looks import Looks

        return Looks(
            self.settings,
            self._site,
            self._engines,
            self._storages,
            self._concurrency,
            self._parameters,
        )

    def _route(self, request: Request, log_context: dict[str, str]) -> Response:
        path = request.path.rstrip("/") or "/"
        if path == "/" and request.method == "POST":
            return self._transfer(request, log_context)
        actions = {"/plan": self._plan, "/list": self._look, "/check": self._look}
        if path in actions:
            if request.method != "POST":
                raise MethodNotAllowed(("POST",))
            return actions[path](request, log_context)
        accept = request.header("Accept")
        documents: dict[str, Callable[[], Response]] = {
            "/": partial(self._describe, request, accept),
            "/healthz": self._health,
            "/metrics": partial(self._render_metrics, accept or ""),
            "/openapi.json": _openapi,
        }
        for name in schemas.NAMES:
            document = partial(
                http_messages.json_response, schemas.schema(name), "application/schema+json"
            )
            documents[f"/schema/{name}"] = documents[f"/schema/{schemas.VERSION}/{name}"] = document
        if path not in documents:
            raise NotFound("GET / lists the paths of this service.")
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(("GET", "HEAD", "POST") if path == "/" else ("GET", "HEAD"))
        return documents[path]()

    def _transfer(self, request: Request, log_context: dict[str, str]) -> Response:
        # 1. Authenticate, then validate: schema first, then the site's policy.
        caller, permissions = self._admit(request, log_context)
        content_type = request.negotiate()
        transfer = request_parser.parse(
            http_messages.read_json(request, self.settings.body_bytes),
            partial(self._storages.endpoint, permissions),
        )
        engine, admitted, parameters = self._prepare(request, log_context, permissions, transfer)
        if transfer.notify is not None:
            identifier = parameters.log_context["transfer"]
            notify = self._notifier.prepare(transfer.notify, identifier)
            parameters = replace(parameters, notify=notify)
        # 2. Run one transfer, for as long as the client waits for it.
        with self._concurrency.slot(caller, permissions.limits.concurrent_transfers) as slot:
            events = runner.run(admitted, engine, parameters)
            max_bytes = self.settings.response_bytes
            if content_type in STREAMS:
                return http_messages.stream_response(events, slot, content_type, max_bytes)
            return http_messages.result_response(
                runner.collect(events, transfer.options.report, max_bytes), max_bytes, request.fits
            )

    def _plan(self, request: Request, log_context: dict[str, str]) -> Response:
        # A plan reads the same storages as a transfer, so it passes the same checks.
        caller, permissions = self._admit(request, log_context)
        if request.negotiate() in STREAMS:
            raise NotAcceptable(f"A plan is not streamed. Accept {JSON}.")
        transfer, options = request_parser.parse_plan(
            http_messages.read_json(request, self.settings.body_bytes),
            partial(self._storages.endpoint, permissions),
        )
        engine, admitted, parameters = self._prepare(request, log_context, permissions, transfer)
        with self._concurrency.slot(caller, permissions.limits.concurrent_transfers):
            from efss_transfer.service import planning  # see _openapi

            survey = planning.run_survey(admitted, engine, parameters, measure=options.rate is None)
        result = replace(survey.result, id=transfer.id, shard=transfer.selection.shard)
        if result.state is State.INCOMPLETE:
            error = SurveyIncomplete(
                f"The survey of both sides did not finish in {parameters.duration_seconds:.0f} s. "
                "Plan folders of the source separately, or allow more time."
            )
            return http_messages.problem_response(problems.of_error(error))
        max_bytes = self.settings.response_bytes
        if result.code is not None:
            return http_messages.result_response(result, max_bytes, request.fits)
        plan = planning.make_plan(transfer, survey, options, parameters.duration_seconds)
        if plan.refusals:
            reasons = [(refusal.code, refusal.message) for refusal in plan.refusals]
            return http_messages.problem_response(problems.of_plan(reasons, plan.to_json()))
        return http_messages.json_response(plan.to_json())

    def _look(self, request: Request, log_context: dict[str, str]) -> Response:
        caller, permissions = self._admit(request, log_context)
        return self._looks.answer(request, caller, permissions, log_context)

    def _admit(self, request: Request, log_context: dict[str, str]) -> tuple[str, Caller]:
        name, permissions = self._admission.admit(
            request.header("Authorization"),
            request.remote,
            request.header("Origin"),
            platform_authenticated=request.vouched,
        )
        log_context["caller"] = name
        return name, permissions

    def _prepare(
        self,
        request: Request,
        log_context: dict[str, str],
        permissions: Caller,
        transfer: TransferRequest,
    ) -> tuple[Engine, TransferRequest, RunParameters]:
        """The engine, the request as the site's policy admits it, and the run's limits.

        Raises Forbidden and InvalidRequest.
        """
        if transfer.id is not None:
            log_context["request_id"] = transfer.id
        if transfer.selection.shard is not None:
            log_context["shard"] = str(transfer.selection.shard)
        engine = self._engines[transfer.engine]
        admitted = policy.admit(transfer, self._site, permissions, engine)
        engine_rules.refuse_detach(transfer, engine, self._offered)
        deadline = transfer.options.deadline_seconds or math.inf
        parameters = self._parameters(request, permissions, admitted.egress, log_context, deadline)
        return engine, admitted.request, parameters

    def _parameters(
        self,
        request: Request,
        permissions: Caller,
        egress: Egress,
        log_context: Mapping[str, str],
        seconds: float,
    ) -> RunParameters:
        """Who runs what, and its limits: it takes that many seconds at most."""
        limits = self._site.limits.within(permissions.limits)
        allowed = (self.settings.duration_seconds, limits.duration_seconds or math.inf)
        return RunParameters(
            log_context["caller"],
            min(seconds, *allowed, request.seconds),
            limits,
            egress,
            interrupted=request.interrupted,
            metrics=self._metrics,
            log_context={**log_context, "transfer": uuid4().hex},
        )

    def _describe(self, request: Request, accept: str | None) -> Response:
        if page.prefers_html(accept):
            return Response(200, page.headers(), page.content())
        from efss_transfer.service import self_description  # see _openapi

        usable = self_description.usable_storages(request, self._admission, self._storages)
        response = http_messages.json_response(self_description.of_service(self._offered, usable))
        return replace(response, headers={**response.headers, "Vary": "Accept, Authorization"})

    def _render_metrics(self, accept: str) -> Response:
        text, content_type = self._metrics.render(accept)
        return Response(200, http_messages.headers(content_type), text)

    def _health(self) -> Response:
        engines = {name: engine.health() for name, engine in self._offered.items()}
        usable = all(health.usable for health in engines.values())
        return http_messages.json_response(
            {
                "status": "ok" if usable else "unusable",
                "version": __version__,
                "authentication": self._site.authentication["mode"],
                "engines": {name: health.to_json() for name, health in engines.items()},
            },
            status=200 if usable else 503,
        )


def _openapi() -> Response:
    # Imported with the first request for it: a cold start on AWS Lambda need not pay for it.
    from efss_transfer.service.openapi import description

    return http_messages.json_response(description.description())
