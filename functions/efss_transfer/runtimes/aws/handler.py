"""AWS Lambda: an event in, an answer out. `efss_transfer.aws_lambda.handler` is the handler.

A bare event may also be a step of the state machine in template.yaml: see `step_functions`. What
such a step copies is a bare request like any other.

Who may call. Where the site asks callers for a token, every event needs its Authorization
header; one that is bare has none, and is refused. Where it asks nobody (mode `none`), a
bare request is served: whoever may invoke the function was let in by IAM. So is one of HTTP
that was signed for IAM, if AWS says so in the event (a function URL or an API with AWS_IAM).
Others of HTTP are refused there, from whatever address they say that they come, because nobody
who sends them is on this machine. A signature takes the place of a token in the Authorization
header: where a site asks for tokens, use no function URL with AWS_IAM. And let no integration
that hands a body on as the event (API Gateway's "non-proxy" ones) be open to others than
those who may invoke the function.

Before the first request all is imported that a request needs until rclone boots, and rclone's
program is hashed: Lambda gives a start more of a processor than most functions have later.
Nothing else is made by then: a snapshot of the function (SnapStart), which many copies start
from, holds no secret, no connection, no daemon, and no random number.
"""

from __future__ import annotations

import json
import logging
from functools import cache
from typing import Any, Final, Protocol

from efss_transfer.runtimes.aws import warmup

# First of all: it is done by another processor while this one imports the rest.
warmup.begin()

from efss_transfer.contract import problems  # noqa: E402
from efss_transfer.model.errors import ConfigurationError, EfssTransferError  # noqa: E402
from efss_transfer.runtimes import buffered  # noqa: E402
from efss_transfer.runtimes.aws import events  # noqa: E402
from efss_transfer.service import application, http_messages, logs, runner  # noqa: E402

warmup.load_engines()

# Lambda refuses an answer of more than 6 MB, and it is not said which MB those are.
MOST_BYTES: Final = 6_000_000

_LOG: Final = logging.getLogger(__name__)


class LambdaContext(Protocol):
    """What is used of the object that Lambda's runtime hands over beside the event."""

    def get_remaining_time_in_millis(self) -> int:
        """How much time is left to this invocation."""


def handler(event: Any, context: LambdaContext) -> dict[str, Any]:
    """Answer an event. Never raises: whatever happens has an answer of its own."""
    try:
        if events.is_step(event):
            # Here and not above: a start must not wait for what only the state machine needs.
            from efss_transfer.runtimes.aws import step_functions

            return step_functions.step(event, lambda request: handler(request, context))
        answer = _answered(event, context)
    except EfssTransferError as error:
        extra = logs.line("refused", {}, code=error.code, status=error.status)
        _LOG.info("refused: %s", error.code, extra=extra)
        answer = http_messages.told(problems.of_error(error))
    except Exception as error:  # noqa: BLE001 - no caller may see a traceback
        runner.log_defect(error)
        answer = http_messages.told(problems.of_defect())
    return _returned(event, answer)


def _answered(event: Any, context: LambdaContext) -> http_messages.Response:
    asked = events.read(event)
    try:
        configured = _service()
    except ConfigurationError as error:
        # It is for the operator to read, and it is said each time: nothing else will work.
        _LOG.error("%s", error)
        return http_messages.told(problems.of_defect())
    call = http_messages.Request(
        method=asked.method,
        path=asked.path,
        header=lambda name: asked.headers.get(name.lower()),
        kind=asked.kind,
        representation=lambda: buffered.representation(asked.headers.get("accept", "")),
        body=buffered.reader(asked.body),
        seconds=buffered.usable(context.get_remaining_time_in_millis() / 1000),
        fits=lambda answer: _size(_returned(event, answer)) <= MOST_BYTES,
        vouched=asked.bare or asked.signed,
    )
    answer = configured.answer(call)
    if asked.method == "HEAD":
        return http_messages.Response(answer.status, answer.headers, b"")
    return answer


@cache
def _service() -> application.Service:
    """The service, made for the first request. Raises ConfigurationError."""
    return application.Service.configured()


def _returned(event: Any, answer: http_messages.Response) -> dict[str, Any]:
    body = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
    return events.envelope(event, answer.status, answer.headers, body)


def _size(returned: dict[str, Any]) -> int:
    """How long it is as JSON in ASCII, as the older runtimes of Python write it."""
    return len(json.dumps(returned))
