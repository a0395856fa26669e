"""AWS Lambda: an event in, an answer out. `efss_transfer.aws_lambda.handler` is the handler.

Who may call. Where the site asks callers for a token, every event needs its Authorization
header; one that is bare has none, and is refused. Where it asks nobody (mode `none`), a
bare request is served: whoever may invoke the function was let in by IAM. One of HTTP is
refused there, from whatever address it says that it comes, because nobody who sends it is on
this machine. So let no integration that hands a body on as the event (API Gateway's
"non-proxy" ones) be open to others than those who may invoke the function.

Nothing is made before the first request: a snapshot of the function (SnapStart), which many
copies start from, holds no secret, no connection, no daemon, and no random number.
"""

from __future__ import annotations

import json
import logging
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from efss_transfer import aws_events, whole
from efss_transfer.errors import ConfigurationError, EfssTransferError

if TYPE_CHECKING:
    from efss_transfer.service import Answer, Service

# Lambda refuses an answer of more than 6 MB, and it is not said which MB those are.
MOST_BYTES: Final = 6_000_000

_LOG: Final = logging.getLogger(__name__)


class Context(Protocol):
    """What is used of the object that Lambda's runtime hands over beside the event."""

    def get_remaining_time_in_millis(self) -> int:
        """How much time is left to this invocation."""


def handler(event: Any, context: Context) -> dict[str, Any]:
    """Answer an event. Never raises: whatever happens has an answer of its own."""
    # Here and not above: starting the function must be fast, and only a request needs them.
    from efss_transfer import logs, problems, runner, service

    try:
        answer = _answered(event, context)
    except EfssTransferError as error:
        extra = logs.line("refused", {}, code=error.code, status=error.status)
        _LOG.info("refused: %s", error.code, extra=extra)
        answer = service.told(problems.of_error(error))
    except Exception as error:  # noqa: BLE001 - no caller may see a traceback
        runner.log_defect(error)
        answer = service.told(problems.of_defect())
    return _returned(event, answer)


def _answered(event: Any, context: Context) -> Answer:
    from efss_transfer import problems, service

    asked = aws_events.read(event)
    try:
        configured = _service()
    except ConfigurationError as error:
        # It is for the operator to read, and it is said each time: nothing else will work.
        _LOG.error("%s", error)
        return service.told(problems.of_defect())
    call = service.Call(
        method=asked.method,
        path=asked.path,
        header=lambda name: asked.headers.get(name.lower()),
        kind=asked.kind,
        representation=lambda: whole.representation(asked.headers.get("accept", "")),
        body=whole.reader(asked.body),
        seconds=whole.usable(context.get_remaining_time_in_millis() / 1000),
        fits=lambda answer: _size(_returned(event, answer)) <= MOST_BYTES,
        vouched=asked.bare,
    )
    answer = configured.answer(call)
    if asked.method == "HEAD":
        return service.Answer(answer.status, answer.headers, b"")
    return answer


@cache
def _service() -> Service:
    """The service, made for the first request. Raises ConfigurationError."""
    from efss_transfer.service import Service

    return Service.configured()


def _returned(event: Any, answer: Answer) -> dict[str, Any]:
    body = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
    return aws_events.envelope(event, answer.status, answer.headers, body)


def _size(returned: dict[str, Any]) -> int:
    """How long it is as JSON in ASCII, as the older runtimes of Python write it."""
    return len(json.dumps(returned))
