"""The entry point of Nuclio (`nuclio_handler:handler`); all else is in efss_transfer."""

from typing import Any

from efss_transfer.runtimes import buffered, nuclio


def init_context(_: Any) -> None:
    """Called once in each worker: what is wrong with the settings fails the deployment."""
    buffered.service()


def handler(context: Any, event: Any) -> Any:
    """POST a transfer request, or GET what the service says of itself."""
    status, headers, body = buffered.answer(*nuclio.read(event))
    kind = headers.pop("Content-Type")
    return context.Response(headers, body, kind, status)
