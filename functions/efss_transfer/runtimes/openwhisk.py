"""Apache OpenWhisk: an activation's arguments in, its result out.

A raw web action (`--web raw`) brings the HTTP request in arguments whose names begin with
`__ow_`, which no caller can set (docs/webactions.md of OpenWhisk). Arguments without any such
name are a bare request, from whoever has the key of the namespace: its answer is the result
or the problem itself. So where nobody is asked who they are, a bare request is served, and
one of HTTP is not; where a token is asked for, a bare one, which has none, is refused.

An activation's deadline is told in `__OW_DEADLINE`, in milliseconds since 1970.
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

MOST_BYTES: Final = 1 << 20
"""OpenWhisk takes a result of 1 MB (docs/reference.md, "Per activation payload size")."""

_JSON: Final = "application/json"


def main(args: dict[str, Any]) -> dict[str, Any]:
    """Answer an activation. Never raises: whatever happens has an answer of its own."""
    if not any(name.startswith("__ow_") for name in args):
        return _bare(args)
    headers = args.get("__ow_headers") or {}
    status, sent, content = buffered.answer(
        str(args.get("__ow_method", "")),
        str(args.get("__ow_path") or "/"),
        headers,
        _body(str(args.get("__ow_body") or "")),
        seconds=_seconds_left(),
        fits=lambda answer: _fits(_web(answer.status, dict(answer.headers), _content(answer))),
    )
    return _web(status, sent, content)


def _bare(args: dict[str, Any]) -> dict[str, Any]:
    _, _, content = buffered.answer(
        "POST",
        "/",
        {"content-type": _JSON},
        json.dumps(args).encode(),
        seconds=_seconds_left(),
        fits=lambda answer: len(_content(answer)) <= MOST_BYTES,
        vouched=True,
    )
    told: dict[str, Any] = json.loads(content)
    return told


def _web(status: int, headers: dict[str, str], content: bytes) -> dict[str, Any]:
    kind = headers["Content-Type"].partition(";")[0]
    if content and (kind == _JSON or kind.endswith("+json")):
        # What is JSON goes as it is: a text would have to be base64, and a third longer.
        return {"statusCode": status, "headers": headers, "body": json.loads(content)}
    return {"statusCode": status, "headers": headers, "body": content.decode()}


def _body(text: str) -> bytes:
    """The body as it was sent: JSON arrives in base64, and what is none begins otherwise."""
    if text.lstrip()[:1] not in ("{", "["):
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            pass
    return text.encode("utf-8", "surrogatepass")


def _content(answer: Response) -> bytes:
    return answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)


def _fits(result: dict[str, Any]) -> bool:
    return len(json.dumps(result)) <= MOST_BYTES


def _seconds_left() -> float:
    told = os.environ.get("__OW_DEADLINE", "")
    return int(told) / 1000 - time.time() if told.isdecimal() else math.inf
