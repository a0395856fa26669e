"""Parses the events that AWS Lambda receives, and builds the response that each kind expects.

Members that only AWS sets, and no outside caller can, tell the kinds of events apart:

    function URL, HTTP API (v2)   requestContext.http
    load balancer (ALB)           requestContext.elb; headers with several values each if the
                                  target group is configured so (multiValueHeaders)
    REST API (v1), HTTP API (v1)  requestContext and httpMethod
    one of STEPS, alone           a step of the state machine in template.yaml
    anything else                 a bare request, from Step Functions or `aws lambda invoke`: the
                                  event is the transfer request, and the response is the result
                                  or the problem document; with a member `plan` it is a plan
                                  request, and the response is the plan
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
from efss_transfer.service.http_messages import media_type

_JSON: Final = "application/json"
_DEFAULT_STAGE: Final = "$default"

STEPS: Final = frozenset({"divide", "copy", "merge", "check"})
"""The steps in `step_functions`; no transfer request has members of these names."""


@dataclass(frozen=True)
class Invocation:
    """The request in an event of any kind; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    bare: bool = False
    signed: bool = False
    """Whether AWS reports that IAM has authorized a signature (SigV4) on the request."""

    @property
    def content_type(self) -> str:
        """The media type of the body, without parameters."""
        return media_type(self.headers.get("content-type", ""))


def is_http(event: object) -> bool:
    """Whether the event is an HTTP request, well-formed or not; a bare request is not."""
    return isinstance(event, dict) and ("requestContext" in event or "httpMethod" in event)


def is_step(event: object) -> bool:
    """Whether the event is a step of the state machine."""
    return isinstance(event, dict) and len(event) == 1 and event.keys() <= STEPS


def parse(event: Any) -> Invocation:
    """The request in an event. Raises InvalidJson, or InvalidRequest for a malformed event."""
    if not is_http(event):
        # Every plan request has the member `plan`, possibly empty; no transfer request has it.
        path = "/plan" if isinstance(event, dict) and "plan" in event else "/"
        return Invocation("POST", path, {"content-type": _JSON}, _encoded(event), bare=True)
    context = _member(event, "requestContext", dict, {})
    if "http" in context:
        http = _member(context, "http", dict)
        method = _member(http, "method", str)
        path = _without_stage(_member(event, "rawPath", str, "/"), context)
    else:
        method = _member(event, "httpMethod", str)
        path = _member(event, "path", str, "/")
        if event.get("version") == "1.0":  # an HTTP API's path has the stage, a REST API's has not
            path = _without_stage(path, context)
    signed = _is_signed(context)
    return Invocation(method.upper(), path or "/", _headers(event), _body(event), signed=signed)


def envelope(event: Any, status: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The response in the form that the sender of this event expects."""
    if not is_http(event):
        document: dict[str, Any] = json.loads(body)
        return document
    response: dict[str, Any] = {"statusCode": status}
    context = event.get("requestContext")
    if isinstance(context, dict) and "elb" in context:
        phrase = next((known.phrase for known in HTTPStatus if known == status), "")
        response["statusDescription"] = f"{status} {phrase}".rstrip()
        if "multiValueHeaders" in event:
            # Such a target group ignores `headers`.
            response["multiValueHeaders"] = {name: [value] for name, value in headers.items()}
    if "multiValueHeaders" not in response:
        response["headers"] = dict(headers)
    try:
        return response | {"body": body.decode(), "isBase64Encoded": False}
    except UnicodeDecodeError:
        return response | {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}


def _encoded(event: object) -> bytes:
    try:
        return json.dumps(event).encode()
    except (TypeError, ValueError, RecursionError):
        raise InvalidJson("The event cannot be represented as JSON.") from None


def _member(event: Mapping[str, Any], name: str, kind: type, default: Any = None) -> Any:
    value = event.get(name)
    value = default if value is None else value
    if not isinstance(value, kind):
        text = "The event looks like an HTTP event of AWS, but this member is missing or malformed."
        raise InvalidRequest([Violation(f"/{name}", "type", text)])
    return value


def _is_signed(context: Mapping[str, Any]) -> bool:
    """Whether IAM has authorized the request.

    The signer is in `authorizer.iam` (function URLs with AWS_IAM, HTTP APIs) or in `identity`
    (REST APIs), which is null otherwise.
    """
    authorizer = context.get("authorizer")
    signer = authorizer.get("iam") if isinstance(authorizer, dict) else context.get("identity")
    arn = signer.get("userArn") if isinstance(signer, dict) else None
    return isinstance(arn, str) and arn.startswith("arn:")


def _without_stage(path: str, context: Mapping[str, Any]) -> str:
    stage = context.get("stage")
    if isinstance(stage, str) and stage not in ("", _DEFAULT_STAGE):
        rest = path.removeprefix(f"/{stage}")
        if rest[:1] in ("", "/"):
            return rest
    return path


def _headers(event: Mapping[str, Any]) -> dict[str, str]:
    """The headers; several values of one header are joined by commas (RFC 9110, section 5.3)."""
    headers: dict[str, str] = {}
    for name, value in _member(event, "headers", dict, {}).items():
        if isinstance(value, str):
            headers[name.lower()] = value
    for name, values in _member(event, "multiValueHeaders", dict, {}).items():
        if isinstance(values, list) and all(isinstance(value, str) for value in values):
            headers[name.lower()] = ", ".join(values)
    return headers


def _body(event: Mapping[str, Any]) -> bytes:
    body = _member(event, "body", str, "")
    if event.get("isBase64Encoded") is not True:
        return str(body).encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidJson("The event says that its body is base64, but it is not.") from None
