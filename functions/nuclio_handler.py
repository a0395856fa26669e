"""The entry point of Nuclio (`nuclio_handler:handler`)."""

from typing import Any

from efss_transfer.runtimes import buffered, nuclio


def init_context(_: Any) -> None:
    """Called once in each worker: a configuration error fails the deployment."""
    buffered.service()


def handler(context: Any, event: Any) -> Any:
    """Answer any request to the service."""
    status, headers, body = buffered.answer(*nuclio.parse_event(event))
    kind = headers.pop("Content-Type")
    return context.Response(headers, body, kind, status)
