"""Events in the forms that AWS documents, and malformed ones."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Generator, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from efss_transfer.config.settings import Settings
from efss_transfer.engines.base import Context, Health, Survey
from efss_transfer.model.encoding import encode_json
from efss_transfer.model.errors import NotAcceptable
from efss_transfer.model.events import Event, FileDone, Finished, Started
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import FileOutcome, FileState, Result, State, Totals
from efss_transfer.runtimes.aws import handler
from efss_transfer.service.application import Service
from efss_transfer.service.http_messages import Request, Response
from efss_transfer.site.site_file import Site
from support.contract import complaints

BEARER = "Bearer abc"
TOKENS = {
    "mode": "tokens",
    "tokens": [{"caller": "alice", "sha256": hashlib.sha256(b"abc").hexdigest()}],
}
BARE = {"source": {"type": "webdav"}, "destination": {"type": "s3"}}


def url_event(**changes: Any) -> dict[str, Any]:
    """An event of a function URL or an HTTP API (payload 2.0)."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "authorization": BEARER},
        "requestContext": {
            "accountId": "anonymous",
            "http": {"method": "POST", "path": "/", "sourceIp": "127.0.0.1"},
            "stage": "$default",
        },
        "body": json.dumps(BARE),
        "isBase64Encoded": False,
        **changes,
    }


def rest_event(**changes: Any) -> dict[str, Any]:
    """An event of a REST API (payload 1.0)."""
    return {
        "resource": "/",
        "path": "/",
        "httpMethod": "POST",
        "headers": {"Content-Type": "application/json", "Authorization": BEARER},
        "multiValueHeaders": {"Content-Type": ["application/json"], "Authorization": [BEARER]},
        "requestContext": {
            "resourcePath": "/",
            "stage": "prod",
            "path": "/prod/",
            "identity": {"sourceIp": "127.0.0.1"},
        },
        "body": json.dumps(BARE),
        "isBase64Encoded": False,
        **changes,
    }


def alb_event(**changes: Any) -> dict[str, Any]:
    """An event of a load balancer."""
    return {
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:x"}},
        "httpMethod": "POST",
        "path": "/",
        "queryStringParameters": {},
        "headers": {"content-type": "application/json", "authorization": BEARER},
        "body": json.dumps(BARE),
        "isBase64Encoded": False,
        **changes,
    }


MULTI_VALUE = {"content-type": ["application/json"], "authorization": [BEARER]}


def alb_multi_value(**changes: Any) -> dict[str, Any]:
    event = alb_event(multiValueHeaders=MULTI_VALUE, **changes)
    del event["headers"]
    return event


HTTP = [url_event, rest_event, alb_event, alb_multi_value]


class LambdaClock:
    """Lambda's context object."""

    def __init__(self, milliseconds: int = 60_000) -> None:
        self._milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self._milliseconds


class RecordingService:
    """Stands in for the service and records its requests."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.response = Response(200, {"Content-Type": "application/json"}, b'{"a":"\xc3\xa9"}\n')

    def answer(self, request: Request) -> Response:
        self.requests.append(request)
        return self.response


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> RecordingService:
    it = RecordingService()
    monkeypatch.setattr(handler, "_service", lambda: it)
    return it


@pytest.fixture
def _no_service() -> Iterator[None]:
    handler._service.cache_clear()
    yield
    handler._service.cache_clear()


def problem(answer: Any) -> Any:
    """The problem document in an HTTP response."""
    document = json.loads(answer["body"])
    assert complaints("problem", document) == []
    assert answer["statusCode"] == document["status"]
    return document


@pytest.mark.parametrize("event", HTTP)
@pytest.mark.parametrize("base64_encoded", [False, True])
def test_every_kind_of_http_event_gives_the_same_request(
    service: RecordingService, event: Any, base64_encoded: bool
) -> None:
    body = json.dumps(BARE)
    if base64_encoded:
        body = base64.b64encode(body.encode()).decode()
    answer = handler.handler(event(body=body, isBase64Encoded=base64_encoded), LambdaClock())
    [request] = service.requests
    assert (request.method, request.path, request.content_type) == ("POST", "/", "application/json")
    assert request.header("AUTHORIZATION") == BEARER
    assert request.header("traceparent") is None
    assert json.loads(request.read_body(1000)) == BARE
    assert request.negotiate() == "application/json"
    assert not request.vouched
    assert request.remote is None  # whatever the event says: no sender is local
    assert answer["statusCode"] == 200
    assert (answer["body"], answer["isBase64Encoded"]) == ('{"a":"é"}\n', False)


ROLE = "arn:aws:sts::123456789012:assumed-role/portal/session"
# Signed and unsigned requests, in the forms that AWS documents.
SIGNED = [
    (url_event, {"authorizer": {"iam": {"accessKey": "ASIA", "userArn": ROLE, "userId": "A"}}}),
    (rest_event, {"identity": {"accessKey": "ASIA", "userArn": ROLE, "sourceIp": "127.0.0.1"}}),
]
NOT_SIGNED: list[tuple[Any, dict[str, Any]]] = [
    (url_event, {"authorizer": None}),
    (url_event, {"authorizer": {"jwt": {"claims": {"userArn": ROLE}}}}),
    (url_event, {"authorizer": {"lambda": {"userArn": ROLE}}}),
    (url_event, {"authorizer": {"iam": {"userArn": None}}}),
    (url_event, {"authorizer": {"iam": ROLE}}),
    (rest_event, {"identity": {"userArn": None, "user": ROLE}}),
    (rest_event, {"authorizer": {"userArn": ROLE}, "identity": {"userArn": None}}),
]


def in_context(event: Any, more: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = event()
    made["requestContext"] |= more
    return made


@pytest.mark.parametrize(("event", "more"), SIGNED)
def test_iam_signature_vouches_for_the_caller(
    service: RecordingService, event: Any, more: dict[str, Any]
) -> None:
    handler.handler(in_context(event, more), LambdaClock())
    assert service.requests[0].vouched


@pytest.mark.parametrize(("event", "more"), NOT_SIGNED)
def test_event_without_iam_signer_is_not_vouched(
    service: RecordingService, event: Any, more: dict[str, Any]
) -> None:
    handler.handler(in_context(event, more), LambdaClock())
    assert not service.requests[0].vouched


@pytest.mark.parametrize("event", HTTP)
def test_response_has_the_form_that_its_sender_expects(
    service: RecordingService, event: Any
) -> None:
    answer = handler.handler(event(), LambdaClock())
    single, many = {"Content-Type": "application/json"}, {"Content-Type": ["application/json"]}
    assert answer.get("headers") == (None if event is alb_multi_value else single)
    assert answer.get("multiValueHeaders") == (many if event is alb_multi_value else None)
    shown = "200 OK" if event in (alb_event, alb_multi_value) else None
    assert answer.get("statusDescription") == shown


def test_binary_body_is_returned_as_base64(service: RecordingService) -> None:
    service.response = Response(200, {}, b"\xff")
    answer = handler.handler(url_event(), LambdaClock())
    assert (answer["body"], answer["isBase64Encoded"]) == ("/w==", True)


def test_bare_event_is_the_body_and_its_response_the_document(service: RecordingService) -> None:
    assert handler.handler(BARE, LambdaClock()) == {"a": "é"}
    [request] = service.requests
    assert (request.method, request.path, request.content_type, request.vouched) == (
        "POST",
        "/",
        "application/json",
        True,
    )
    assert request.header("Authorization") is None
    assert json.loads(request.read_body(1000)) == BARE


@pytest.mark.parametrize(
    ("event", "path"),
    [
        (url_event(rawPath="/healthz"), "/healthz"),
        (url_event(rawPath=""), "/"),
        (rest_event(path="/healthz"), "/healthz"),
        (rest_event(path="/prod/healthz"), "/prod/healthz"),
        (rest_event(path="/prod/healthz", version="1.0"), "/healthz"),
        (alb_event(path="/healthz"), "/healthz"),
        (
            url_event(
                rawPath="/dev/healthz",
                requestContext={"http": {"method": "get"}, "stage": "dev"},
            ),
            "/healthz",
        ),
        (
            url_event(rawPath="/dev", requestContext={"http": {"method": "get"}, "stage": "dev"}),
            "/",
        ),
        (
            url_event(
                rawPath="/developers", requestContext={"http": {"method": "get"}, "stage": "dev"}
            ),
            "/developers",
        ),
    ],
)
def test_stage_is_removed_from_the_path(service: RecordingService, event: Any, path: str) -> None:
    handler.handler(event, LambdaClock())
    assert service.requests[0].path == path


def test_repeated_header_has_all_values(service: RecordingService) -> None:
    twice = {"multiValueHeaders": {"Authorization": ["Bearer a", "Bearer b"]}}
    handler.handler(rest_event(**twice), LambdaClock())
    assert service.requests[0].header("authorization") == "Bearer a, Bearer b"


@pytest.mark.parametrize(
    ("accept", "accepted"),
    [
        ("*/*", True),
        ("text/html, application/json;q=0.5", True),
        ("application/x-ndjson", False),
        ("text/event-stream", False),
    ],
)
@pytest.mark.usefixtures("_no_service")
def test_streams_are_not_acceptable(service: RecordingService, accept: str, accepted: bool) -> None:
    handler.handler(url_event(headers={"accept": accept}), LambdaClock())
    if accepted:
        assert service.requests[0].negotiate() == "application/json"
    else:
        with pytest.raises(NotAcceptable):
            service.requests[0].negotiate()


@pytest.mark.parametrize(
    ("milliseconds", "seconds"), [(900_000, 899), (2000, 1.5), (400, 0.3), (0, 0)]
)
def test_time_left_is_passed_to_the_request(
    service: RecordingService, milliseconds: int, seconds: float
) -> None:
    handler.handler(url_event(), LambdaClock(milliseconds))
    assert service.requests[0].seconds == pytest.approx(seconds)


@pytest.mark.parametrize("event", [url_event(), alb_multi_value(), BARE])
def test_size_is_measured_as_encoded_for_lambda(service: RecordingService, event: Any) -> None:
    """Quotes are escaped there, and characters beyond ASCII take six bytes."""
    handler.handler(event, LambdaClock())
    fits = service.requests[0].fits

    def response(text: str) -> Response:
        return Response(200, {}, encode_json({"text": text}))

    assert fits(response("a" * 5_900_000))
    assert not fits(response("a" * 6_000_000))
    assert not fits(response("é" * 1_100_000))


class StubEngine:
    """An engine that reports many files, whose names grow when they are encoded."""

    name = "rclone"
    unguarded: ClassVar[Mapping[str, str | None]] = {}
    is_third_party = False
    can_detach = False
    count = 30_000

    def __init__(self, state: State) -> None:
        self._state = state

    def run(self, _request: TransferRequest, _context: Context) -> Generator[Event, None, None]:
        now = datetime(2026, 11, 22, tzinfo=UTC)
        yield Started("rclone", now)
        for number in range(self.count):
            yield FileDone(FileOutcome(f'{number}-{"é" * 60}"', FileState.TRANSFERRED, 1))
        failed = int(self._state is State.PARTIAL)
        totals = Totals(self.count, 0, failed, self.count)
        code = "partial" if failed else None
        yield Finished(Result(self._state, "rclone", totals, now, now, code=code))

    def survey(
        self, _: TransferRequest, __: Context, *, measure: bool
    ) -> Generator[Event, None, Survey]:
        raise AssertionError(f"unexpected survey, measure={measure}")

    def health(self) -> Health:
        return Health(usable=True)


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.PARTIAL])
def test_response_stays_within_the_limit_of_lambda(
    monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    site = Site(authentication=TOKENS)
    real = Service(Settings.read({}), site, {"rclone": StubEngine(state)})
    monkeypatch.setattr(handler, "_service", lambda: real)
    body = {
        "source": {"type": "webdav", "parameters": {"url": "https://8.8.8.8"}, "path": ""},
        "destination": {"type": "s3", "parameters": {"anonymous": True}, "path": "bucket"},
        "options": {"report": "all"},
    }
    answer = handler.handler(url_event(body=json.dumps(body)), LambdaClock())
    assert 3_000_000 < len(json.dumps(answer)) <= 6_000_000
    assert answer["statusCode"] == (200 if state is State.SUCCEEDED else 502)
    document = json.loads(answer["body"])
    result = document if state is State.SUCCEEDED else document["result"]
    assert result["totals"]["files"]["transferred"] == StubEngine.count
    assert len(result["files"]) + result["files_omitted"] >= StubEngine.count


@pytest.mark.parametrize("event", HTTP)
@pytest.mark.usefixtures("_no_service")
def test_http_is_refused_without_authentication(event: Any) -> None:
    document = problem(handler.handler(event(), LambdaClock()))
    assert document["code"] == "forbidden"
    assert (
        "Authentication is off, so this service accepts only callers"
        in document["errors"][0]["message"]
    )


@pytest.mark.usefixtures("_no_service")
def test_bare_request_is_validated() -> None:
    events: list[Any] = [BARE, {}, {"Records": []}, [], "text", None, 1.5, float("nan")]
    for event in events:
        document = handler.handler(event, LambdaClock())
        assert complaints("problem", document) == []
        assert document["status"] == 400


MALFORMED: list[Any] = [
    url_event(body="not base64!", isBase64Encoded=True),
    url_event(body="é", isBase64Encoded=True),
    url_event(body={"source": {}}),
    url_event(headers=[]),
    url_event(requestContext=None),
    url_event(requestContext=[]),
    url_event(requestContext={"http": None}),
    url_event(requestContext={"http": {"method": 1}}),
    url_event(rawPath=1),
    alb_event(httpMethod=None),
    alb_event(path=["/"]),
    rest_event(multiValueHeaders="x"),
    {"requestContext": {}},
    {**BARE, "requestContext": {}},
    {**BARE, "httpMethod": 1},
]


@pytest.mark.parametrize("event", MALFORMED, ids=range(len(MALFORMED)))
@pytest.mark.usefixtures("_no_service")
def test_malformed_http_event_is_not_taken_for_a_bare_request(event: Any) -> None:
    assert problem(handler.handler(event, LambdaClock()))["status"] == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = [*url_event(), "httpMethod", "path", "multiValueHeaders"]


@given(st.dictionaries(st.sampled_from(MEMBERS), JSON), st.sampled_from(HTTP))
def test_any_event_gets_a_response(changes: dict[str, Any], event: Any) -> None:
    for sent in (changes, {**event(), **changes}):
        answer = handler.handler(sent, LambdaClock())
        json.dumps(answer)
        if "statusCode" not in answer:
            assert complaints("problem", answer) == []


@pytest.mark.usefixtures("_no_service")
def test_event_that_is_not_json_is_a_problem() -> None:
    assert handler.handler({"source": object()}, LambdaClock())["code"] == "invalid_json"


@pytest.mark.usefixtures("_no_service")
def test_get_head_body_limit_and_unknown_path_work_through_lambda() -> None:
    get = {"requestContext": {"http": {"method": "GET"}}}
    answer = handler.handler(url_event(body=None, **get), LambdaClock())
    assert json.loads(answer["body"])["name"] == "efss-transfer"
    head = {"requestContext": {"http": {"method": "HEAD"}}}
    answer = handler.handler(url_event(**head), LambdaClock())
    assert (answer["statusCode"], answer["body"]) == (200, "")
    document = handler.handler({**BARE, "id": "x" * (1 << 20)}, LambdaClock())
    assert (document["status"], document["code"]) == (413, "body_too_large")
    document = problem(handler.handler(url_event(rawPath="/nowhere"), LambdaClock()))
    assert document["code"] == "not_found"


@pytest.mark.usefixtures("_no_service")
def test_configuration_error_is_logged_and_not_shown_to_the_caller(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EFSS_TRANSFER_BODY_BYTES", "many")
    with caplog.at_level("ERROR"):
        caplog.handler.setLevel("ERROR")
        handler._LOG.addHandler(caplog.handler)
        try:
            document = handler.handler(BARE, LambdaClock())
        finally:
            handler._LOG.removeHandler(caplog.handler)
    assert (document["status"], document["code"]) == (500, "internal")
    assert "BODY_BYTES" not in json.dumps(document)
    assert "EFSS_TRANSFER_BODY_BYTES must be a whole number" in caplog.text


def test_broken_context_object_is_an_internal_error_with_a_response(
    service: RecordingService,
) -> None:
    document = handler.handler(BARE, None)  # type: ignore[arg-type]
    assert (document["status"], document["code"]) == (500, "internal")
    assert problem(handler.handler(alb_event(), object()))["code"] == "internal"  # type: ignore[arg-type]
