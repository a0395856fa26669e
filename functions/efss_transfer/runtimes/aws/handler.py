"""AWS Lambda handler: an event in, a response out. Configure `lambda_handler.handler`.

An installed package offers it as `efss_transfer.aws_lambda.handler`. A bare event may also be a
step of the state machine in template.yaml (see `step_functions`); each shard that such a step
copies is a bare request like any other.

Authentication. With tokens or OIDC every request needs an Authorization header; a bare request
has none and is refused. Without authentication (mode `none`) these are accepted:

- a bare request, because IAM has authorized whoever may invoke the function;
- an HTTP request signed for IAM, if AWS reports so in the event (function URL or API with
  AWS_IAM).

All other HTTP requests are refused, whatever address they come from: no sender is local to this
machine. A signature and a token both use the Authorization header, so a site with tokens must not
use a function URL with AWS_IAM. An integration that passes the HTTP body on as the event (API
Gateway's "non-proxy" integration) must be open only to those who may invoke the function.

Cold start. While Lambda starts the function it grants more CPU than most functions have later.
This module therefore imports, at its own import, all that a request needs until rclone boots, and
hashes the rclone program in the background. Nothing else is created before the first request, so
a snapshot of the function (SnapStart), from which many copies start, holds no secret, connection,
daemon or random number.
"""

from __future__ import annotations

import json
import logging
from functools import cache
from typing import Any, Final, Protocol

from efss_transfer.runtimes.aws import warmup

# Before the other imports: hashing uses a second CPU while this one imports.
warmup.start_verification()

from efss_transfer.contract import problems  # noqa: E402
from efss_transfer.model.errors import ConfigurationError, EfssTransferError  # noqa: E402
from efss_transfer.runtimes import buffered  # noqa: E402
from efss_transfer.runtimes.aws import events  # noqa: E402
from efss_transfer.service import application, http_messages, logs, runner  # noqa: E402

warmup.load_engines()

# Lambda's documented limit is 6 MB, without saying whether decimal or binary.
MAX_BYTES: Final = 6_000_000

_LOG: Final = logging.getLogger(__name__)


class LambdaContext(Protocol):
    """The part of Lambda's context object that the handler uses."""

    def get_remaining_time_in_millis(self) -> int:
        """The time left to this invocation."""


def handler(event: Any, context: LambdaContext) -> dict[str, Any]:
    """Answer an event. Never raises: every error becomes a problem document."""
    try:
        if events.is_step(event):
            # Imported here because only the state machine needs it, and a start must be fast.
            from efss_transfer.runtimes.aws import step_functions

            return step_functions.step(event, lambda request: handler(request, context))
        response = _answer(event, context)
    except EfssTransferError as error:
        extra = logs.members("refused", {}, code=error.code, status=error.status)
        _LOG.info("request refused: %s", error.code, extra=extra)
        response = http_messages.problem_response(problems.of_error(error))
    except Exception as error:  # noqa: BLE001 - no caller may see a traceback
        runner.log_internal_error(error)
        response = http_messages.problem_response(problems.of_defect())
    return _envelope(event, response)


def _answer(event: Any, context: LambdaContext) -> http_messages.Response:
    invocation = events.parse(event)
    try:
        service = _service()
    except ConfigurationError as error:
        # Logged at every request: the operator must see it, and no request can succeed.
        _LOG.error("configuration error: %s", error)
        return http_messages.problem_response(problems.of_defect())
    headers = invocation.headers
    request = http_messages.Request(
        method=invocation.method,
        path=invocation.path,
        header=lambda name: headers.get(name.lower()),
        content_type=invocation.content_type,
        negotiate=lambda: buffered.negotiate(headers.get("accept", "")),
        read_body=http_messages.body_reader(invocation.body),
        seconds=buffered.usable_seconds(context.get_remaining_time_in_millis() / 1000),
        fits=lambda response: _size(_envelope(event, response)) <= MAX_BYTES,
        vouched=invocation.bare or invocation.signed,
    )
    response = service.answer(request)
    if invocation.method == "HEAD":
        return http_messages.Response(response.status, response.headers, b"")
    return response


@cache
def _service() -> application.Service:
    """The service, created for the first request. Raises ConfigurationError."""
    return application.Service.from_environment()


def _envelope(event: Any, response: http_messages.Response) -> dict[str, Any]:
    content = buffered.content(response)
    return events.envelope(event, response.status, response.headers, content)


def _size(document: dict[str, Any]) -> int:
    """The length of the document as ASCII JSON, as Lambda's older Python runtimes encode it."""
    return len(json.dumps(document))
