"""The events of AWS, as its documentation shows them, and what is none of them."""

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
from efss_transfer.model.errors import NotAcceptable
from efss_transfer.model.events import Event, FileDone, Finished, Started
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import FileOutcome, FileState, Result, State, Totals, encoded
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
    """Of a function URL, or an HTTP API (payload 2.0)."""
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
    """Of a REST API (payload 1.0)."""
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
    """Of a load balancer."""
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


MANY = {"content-type": ["application/json"], "authorization": [BEARER]}


def alb_of_many(**changes: Any) -> dict[str, Any]:
    event = alb_event(multiValueHeaders=MANY, **changes)
    del event["headers"]
    return event


HTTP = [url_event, rest_event, alb_event, alb_of_many]


class Clock:
    """The context that Lambda hands over."""

    def __init__(self, milliseconds: int = 60_000) -> None:
        self._milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self._milliseconds


class Heard:
    """In place of the service: what it was called with."""

    def __init__(self) -> None:
        self.calls: list[Request] = []
        self.answer_with = Response(
            200, {"Content-Type": "application/json"}, b'{"a":"\xc3\xa9"}\n'
        )

    def answer(self, call: Request) -> Response:
        self.calls.append(call)
        return self.answer_with


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    it = Heard()
    monkeypatch.setattr(handler, "_service", lambda: it)
    return it


@pytest.fixture
def _fresh() -> Iterator[None]:
    handler._service.cache_clear()
    yield
    handler._service.cache_clear()


def problem(answer: Any) -> Any:
    """The problem in an answer of HTTP."""
    document = json.loads(answer["body"])
    assert complaints("problem", document) == []
    assert answer["statusCode"] == document["status"]
    return document


@pytest.mark.parametrize("event", HTTP)
@pytest.mark.parametrize("packed", [False, True])
def test_each_event_of_http_is_the_same_call(heard: Heard, event: Any, packed: bool) -> None:
    body = json.dumps(BARE)
    if packed:
        body = base64.b64encode(body.encode()).decode()
    answer = handler.handler(event(body=body, isBase64Encoded=packed), Clock())
    [call] = heard.calls
    assert (call.method, call.path, call.kind) == ("POST", "/", "application/json")
    assert call.header("AUTHORIZATION") == BEARER
    assert call.header("traceparent") is None
    assert json.loads(call.body(1000)) == BARE
    assert call.representation() == "application/json"
    assert not call.vouched
    assert call.remote is None  # whatever the event says: nobody is on this machine
    assert answer["statusCode"] == 200
    assert (answer["body"], answer["isBase64Encoded"]) == ('{"a":"é"}\n', False)


ROLE = "arn:aws:sts::123456789012:assumed-role/portal/session"
# As AWS documents them: who signed, and what stands there where nobody was asked to.
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
def test_iam_vouches_for_whom_it_let_in(heard: Heard, event: Any, more: dict[str, Any]) -> None:
    handler.handler(in_context(event, more), Clock())
    assert heard.calls[0].vouched


@pytest.mark.parametrize(("event", "more"), NOT_SIGNED)
def test_it_does_for_nobody_else(heard: Heard, event: Any, more: dict[str, Any]) -> None:
    handler.handler(in_context(event, more), Clock())
    assert not heard.calls[0].vouched


@pytest.mark.parametrize("event", HTTP)
def test_each_is_answered_in_its_own_way(heard: Heard, event: Any) -> None:
    answer = handler.handler(event(), Clock())
    single, many = {"Content-Type": "application/json"}, {"Content-Type": ["application/json"]}
    assert answer.get("headers") == (None if event is alb_of_many else single)
    assert answer.get("multiValueHeaders") == (many if event is alb_of_many else None)
    shown = "200 OK" if event in (alb_event, alb_of_many) else None
    assert answer.get("statusDescription") == shown


def test_what_is_no_text_goes_back_as_base64(heard: Heard) -> None:
    heard.answer_with = Response(200, {}, b"\xff")
    answer = handler.handler(url_event(), Clock())
    assert (answer["body"], answer["isBase64Encoded"]) == ("/w==", True)


def test_a_bare_request_is_the_body_and_its_answer_the_document(heard: Heard) -> None:
    assert handler.handler(BARE, Clock()) == {"a": "é"}
    [call] = heard.calls
    assert (call.method, call.path, call.kind, call.vouched) == (
        "POST",
        "/",
        "application/json",
        True,
    )
    assert call.header("Authorization") is None
    assert json.loads(call.body(1000)) == BARE


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
def test_the_path_is_without_the_stage(heard: Heard, event: Any, path: str) -> None:
    handler.handler(event, Clock())
    assert heard.calls[0].path == path


def test_a_header_that_was_sent_twice_has_both_values(heard: Heard) -> None:
    twice = {"multiValueHeaders": {"Authorization": ["Bearer a", "Bearer b"]}}
    handler.handler(rest_event(**twice), Clock())
    assert heard.calls[0].header("authorization") == "Bearer a, Bearer b"


@pytest.mark.parametrize(
    ("accept", "accepted"),
    [
        ("*/*", True),
        ("text/html, application/json;q=0.5", True),
        ("application/x-ndjson", False),
        ("text/event-stream", False),
    ],
)
@pytest.mark.usefixtures("_fresh")
def test_there_are_no_streams(heard: Heard, accept: str, accepted: bool) -> None:
    handler.handler(url_event(headers={"accept": accept}), Clock())
    if accepted:
        assert heard.calls[0].representation() == "application/json"
    else:
        with pytest.raises(NotAcceptable):
            heard.calls[0].representation()


@pytest.mark.parametrize(
    ("milliseconds", "seconds"), [(900_000, 899), (2000, 1.5), (400, 0.3), (0, 0)]
)
def test_the_time_that_is_left_is_the_calls(
    heard: Heard, milliseconds: int, seconds: float
) -> None:
    handler.handler(url_event(), Clock(milliseconds))
    assert heard.calls[0].seconds == pytest.approx(seconds)


@pytest.mark.parametrize("event", [url_event(), alb_of_many(), BARE])
def test_what_fits_is_measured_as_it_is_sent(heard: Heard, event: Any) -> None:
    """Quotes in a text have backslashes there, and letters beyond ASCII take six signs."""
    handler.handler(event, Clock())
    fits = heard.calls[0].fits

    def answer(text: str) -> Response:
        return Response(200, {}, encoded({"text": text}))

    assert fits(answer("a" * 5_900_000))
    assert not fits(answer("a" * 6_000_000))
    assert not fits(answer("é" * 1_100_000))


class StandIn:
    """An engine that tells of many files, whose names grow when they are sent."""

    name = "rclone"
    unguarded: ClassVar[Mapping[str, str | None]] = {}
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
        raise AssertionError(f"nobody wants a plan here, measured: {measure}")

    def health(self) -> Health:
        return Health(usable=True)


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.PARTIAL])
def test_no_answer_is_longer_than_lambda_takes(
    monkeypatch: pytest.MonkeyPatch, state: State
) -> None:
    site = Site(authentication=TOKENS)
    service = Service(Settings.read({}), site, {"rclone": StandIn(state)})
    monkeypatch.setattr(handler, "_service", lambda: service)
    body = {
        "source": {"type": "webdav", "parameters": {"url": "https://8.8.8.8"}},
        "destination": {"type": "s3", "parameters": {"anonymous": True}, "path": "bucket"},
        "options": {"report": "all"},
    }
    answer = handler.handler(url_event(body=json.dumps(body)), Clock())
    assert 3_000_000 < len(json.dumps(answer)) <= 6_000_000
    assert answer["statusCode"] == (200 if state is State.SUCCEEDED else 502)
    document = json.loads(answer["body"])
    result = document if state is State.SUCCEEDED else document["result"]
    assert result["totals"]["files"]["transferred"] == StandIn.count
    assert len(result["files"]) + result["files_omitted"] >= StandIn.count


@pytest.mark.parametrize("event", HTTP)
@pytest.mark.usefixtures("_fresh")
def test_nobody_is_served_over_http_where_nobody_is_asked(event: Any) -> None:
    told = problem(handler.handler(event(), Clock()))
    assert told["code"] == "forbidden"
    assert "Without authentication only callers on this machine" in told["errors"][0]["message"]


@pytest.mark.usefixtures("_fresh")
def test_a_bare_request_is_held_to_the_schema() -> None:
    events: list[Any] = [BARE, {}, {"Records": []}, [], "text", None, 1.5, float("nan")]
    for event in events:
        told = handler.handler(event, Clock())
        assert complaints("problem", told) == []
        assert told["status"] == 400


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
@pytest.mark.usefixtures("_fresh")
def test_a_malformed_event_is_a_problem_and_never_taken_for_a_bare_one(event: Any) -> None:
    assert problem(handler.handler(event, Clock()))["status"] == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = [*url_event(), "httpMethod", "path", "multiValueHeaders"]


@given(st.dictionaries(st.sampled_from(MEMBERS), JSON), st.sampled_from(HTTP))
def test_whatever_is_sent_has_an_answer(changes: dict[str, Any], event: Any) -> None:
    for sent in (changes, {**event(), **changes}):
        answer = handler.handler(sent, Clock())
        json.dumps(answer)
        if "statusCode" not in answer:
            assert complaints("problem", answer) == []


@pytest.mark.usefixtures("_fresh")
def test_what_is_no_json_at_all_is_a_problem() -> None:
    assert handler.handler({"source": object()}, Clock())["code"] == "invalid_json"


@pytest.mark.usefixtures("_fresh")
def test_the_service_describes_itself_and_measures_the_body() -> None:
    get = {"requestContext": {"http": {"method": "GET"}}}
    answer = handler.handler(url_event(body=None, **get), Clock())
    assert json.loads(answer["body"])["name"] == "efss-transfer"
    head = {"requestContext": {"http": {"method": "HEAD"}}}
    answer = handler.handler(url_event(**head), Clock())
    assert (answer["statusCode"], answer["body"]) == (200, "")
    told = handler.handler({**BARE, "id": "x" * (1 << 20)}, Clock())
    assert (told["status"], told["code"]) == (413, "body_too_large")
    told = problem(handler.handler(url_event(rawPath="/nowhere"), Clock()))
    assert told["code"] == "not_found"


@pytest.mark.usefixtures("_fresh")
def test_a_wrong_setting_is_told_to_the_operator_and_not_to_the_caller(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EFSS_TRANSFER_BODY_BYTES", "many")
    with caplog.at_level("ERROR"):
        caplog.handler.setLevel("ERROR")
        handler._LOG.addHandler(caplog.handler)
        try:
            told = handler.handler(BARE, Clock())
        finally:
            handler._LOG.removeHandler(caplog.handler)
    assert (told["status"], told["code"]) == (500, "internal")
    assert "BODY_BYTES" not in json.dumps(told)
    assert "EFSS_TRANSFER_BODY_BYTES must be a whole number" in caplog.text


def test_a_clock_that_fails_is_a_defect_with_an_answer(heard: Heard) -> None:
    told = handler.handler(BARE, None)  # type: ignore[arg-type]
    assert (told["status"], told["code"]) == (500, "internal")
    assert problem(handler.handler(alb_event(), object()))["code"] == "internal"  # type: ignore[arg-type]
