"""The events that AWS Lambda hands over, and the answers that each of them wants.

Which it is stands in members that AWS sets, and a caller from outside cannot:

    function URL, HTTP API (v2)   requestContext.http
    load balancer (ALB)           requestContext.elb; several values of a header at once
                                  where the target group is set so (multiValueHeaders)
    REST API (v1), HTTP API (v1)  requestContext and httpMethod
    anything else                 a bare request: what Step Functions or `aws lambda invoke`
                                  send is the transfer request itself, and its answer is the
                                  result or the problem itself; with a member `plan` it is a
                                  plan's request, and the answer that plan
    one of STEPS alone            a step of the state machine in template.yaml
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from efss_transfer.model.errors import InvalidJson, InvalidRequest, Violation

_JSON: Final = "application/json"
_DEFAULT_STAGE: Final = "$default"

STEPS: Final = frozenset({"divide", "copy", "merge", "check"})
"""What `fan_out` does; no request has members of these names."""


@dataclass(frozen=True)
class Invocation:
    """A request, whatever its event looked like; names of headers are in small letters."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    bare: bool = False
    signed: bool = False
    """Whether AWS says that it was signed, and that IAM let whoever signed it in."""

    @property
    def kind(self) -> str:
        """The body's media type, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_http(event: object) -> bool:
    """Whether the event is an HTTP request, well-formed or not: never one that is bare."""
    return isinstance(event, dict) and ("requestContext" in event or "httpMethod" in event)


def is_step(event: object) -> bool:
    """Whether the event is a step of the state machine's."""
    return isinstance(event, dict) and len(event) == 1 and event.keys() <= STEPS


def read(event: Any) -> Invocation:
    """The request in an event. Raises InvalidJson or InvalidRequest for one that has none."""
    if not is_http(event):
        # No transfer request has this member, and a plan that wants nothing of it has it empty.
        path = "/plan" if isinstance(event, dict) and "plan" in event else "/"
        return Invocation("POST", path, {"content-type": _JSON}, _encoded(event), bare=True)
    context = _member(event, "requestContext", dict, {})
    if "http" in context:
        http = _member(context, "http", dict)
        method = _member(http, "method", str)
        path = _within_stage(_member(event, "rawPath", str, "/"), context)
    else:
        method = _member(event, "httpMethod", str)
        path = _member(event, "path", str, "/")
        if event.get("version") == "1.0":  # an HTTP API's path has the stage, a REST API's not
            path = _within_stage(path, context)
    signed = _signed(context)
    return Invocation(method.upper(), path or "/", _headers(event), _body(event), signed=signed)


def envelope(event: Any, status: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The answer as whatever sent this event wants it."""
    if not is_http(event):
        document: dict[str, Any] = json.loads(body)
        return document
    answer: dict[str, Any] = {"statusCode": status}
    context = event.get("requestContext")
    if isinstance(context, dict) and "elb" in context:
        phrase = next((known.phrase for known in HTTPStatus if known == status), "")
        answer["statusDescription"] = f"{status} {phrase}".rstrip()
        if "multiValueHeaders" in event:
            # Such a target group passes on nothing but these.
            answer["multiValueHeaders"] = {name: [value] for name, value in headers.items()}
    if "multiValueHeaders" not in answer:
        answer["headers"] = dict(headers)
    try:
        return answer | {"body": body.decode(), "isBase64Encoded": False}
    except UnicodeDecodeError:
        return answer | {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}


def _encoded(event: object) -> bytes:
    try:
        return json.dumps(event).encode()
    except (TypeError, ValueError, RecursionError):
        raise InvalidJson("The event is no JSON.") from None


def _member(event: Mapping[str, Any], name: str, kind: type, default: Any = None) -> Any:
    value = event.get(name)
    value = default if value is None else value
    if not isinstance(value, kind):
        text = "The event is like one of HTTP, and this member of it is not as AWS has it."
        raise InvalidRequest([Violation(f"/{name}", "type", text)])
    return value


def _signed(context: Mapping[str, Any]) -> bool:
    """Whether IAM was asked: who signed stands at `authorizer.iam` (function URLs with AWS_IAM,
    HTTP APIs), or at `identity` (REST APIs), and is null there otherwise.
    """
    authorizer = context.get("authorizer")
    known = authorizer.get("iam") if isinstance(authorizer, dict) else context.get("identity")
    who = known.get("userArn") if isinstance(known, dict) else None
    return isinstance(who, str) and who.startswith("arn:")


def _within_stage(path: str, context: Mapping[str, Any]) -> str:
    stage = context.get("stage")
    if isinstance(stage, str) and stage not in ("", _DEFAULT_STAGE):
        inside = path.removeprefix(f"/{stage}")
        if inside[:1] in ("", "/"):
            return inside
    return path


def _headers(event: Mapping[str, Any]) -> dict[str, str]:
    """The headers; of one that was sent several times, all values, as HTTP joins them."""
    found: dict[str, str] = {}
    for name, value in _member(event, "headers", dict, {}).items():
        if isinstance(value, str):
            found[name.lower()] = value
    for name, values in _member(event, "multiValueHeaders", dict, {}).items():
        if isinstance(values, list) and all(isinstance(value, str) for value in values):
            found[name.lower()] = ", ".join(values)
    return found


def _body(event: Mapping[str, Any]) -> bytes:
    body = _member(event, "body", str, "")
    if event.get("isBase64Encoded") is not True:
        return str(body).encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidJson("The body is said to be base64, and is not.") from None
