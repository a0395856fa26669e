"""Apache OpenWhisk adapter: the parameters of an activation in, its result out.

A raw web action (`--web raw`) passes the HTTP request in parameters whose names begin with
`__ow_`, which no caller can set (OpenWhisk, docs/webactions.md). Parameters without such a name
are a bare transfer request from a holder of the namespace's key; its response is the result or
the problem document itself.

OpenWhisk has authenticated the sender of a bare request, but not the sender of an HTTP request.
Without authentication (mode `none`) the service therefore accepts bare requests only. With
tokens it accepts HTTP requests only, because a bare request carries no token.

The environment variable `__OW_DEADLINE` has the deadline of the activation, in milliseconds since
1970.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import os
import time
from typing import TYPE_CHECKING, Any, Final

from efss_transfer.runtimes import buffered

if TYPE_CHECKING:
    from efss_transfer.service.http_messages import Response

MAX_BYTES: Final = 1 << 20
"""The largest result that OpenWhisk accepts (docs/reference.md, "Per activation payload size")."""

_JSON: Final = "application/json"


def main(args: dict[str, Any]) -> dict[str, Any]:
    """Answer an activation. Never raises: every error becomes a problem document."""
    if not any(name.startswith("__ow_") for name in args):
        return _answer_bare(args)
    status, headers, content = buffered.answer(
        str(args.get("__ow_method", "")),
        str(args.get("__ow_path") or "/"),
        args.get("__ow_headers") or {},
        _body(str(args.get("__ow_body") or "")),
        seconds=_seconds_left(),
        fits=_fits,
    )
    return _web_result(status, headers, content)


def _answer_bare(args: dict[str, Any]) -> dict[str, Any]:
    _, _, content = buffered.answer(
        "POST",
        "/",
        {"content-type": _JSON},
        json.dumps(args).encode(),
        seconds=_seconds_left(),
        fits=lambda response: len(buffered.content(response)) <= MAX_BYTES,
        vouched=True,
    )
    document: dict[str, Any] = json.loads(content)
    return document


def _web_result(status: int, headers: dict[str, str], content: bytes) -> dict[str, Any]:
    kind = headers["Content-Type"].partition(";")[0]
    if content and (kind == _JSON or kind.endswith("+json")):
        # As an object, because OpenWhisk wants JSON text in base64, which is a third longer.
        return {"statusCode": status, "headers": headers, "body": json.loads(content)}
    return {"statusCode": status, "headers": headers, "body": content.decode()}


def _body(text: str) -> bytes:
    """The body as the client sent it: OpenWhisk passes JSON in base64 and other text as it is."""
    if text.lstrip()[:1] not in ("{", "["):
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            pass
    return text.encode("utf-8", "surrogatepass")


def _fits(response: Response) -> bool:
    content = buffered.content(response)
    result = _web_result(response.status, dict(response.headers), content)
    return len(json.dumps(result)) <= MAX_BYTES


def _seconds_left() -> float:
    deadline = os.environ.get("__OW_DEADLINE", "")
    return int(deadline) / 1000 - time.time() if deadline.isdecimal() else math.inf
