"""Nuclio adapter: reads the events that Nuclio's processor passes to a Python function."""

from __future__ import annotations

import json
from typing import Any


def parse_event(event: Any) -> tuple[str, str, dict[str, str], bytes]:
    """Method, path, headers and body of an event of Nuclio's HTTP trigger.

    Strings are bytes if the function has NUCLIO_PYTHON_DECODE_EVENT_STRINGS=disabled (the default
    in Nuclio 1.6 and 1.7). Nuclio has already parsed a body sent as `application/json`, so of
    duplicate members only the last one is left.
    """
    headers = {_text(name): _text(value) for name, value in event.headers.items()}
    if event.content_type and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = _text(event.content_type)
    return _text(event.method or ""), _text(event.path), headers, _body(event.body)


def _body(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode("utf-8", "surrogatepass")
    return b"" if body is None else json.dumps(body).encode()


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
