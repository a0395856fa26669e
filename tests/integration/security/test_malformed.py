"""What is no request of ours is refused at the door, quickly, and starts nothing.

Every body here is wrong by its construction, not because the service says so. The
function under test is given an rclone that leaves a mark when it is started.
"""

from __future__ import annotations

import copy
import http.client
import json
import random
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from support import service_process
from support.contract import NAMES, complaints, schema
from support.service_process import Function

LIMIT = 1 << 20
LONGEST_SECONDS = 2.0
CANARY = "canary-password"
# Nothing listens at these addresses: a request that got through would fail, and be seen.
GOOD: dict[str, Any] = {
    "id": "run-42",
    "engine": "rclone",
    "source": {
        "type": "sftp",
        "parameters": {
            "host": "127.0.0.1",
            "port": 1,
            "user": "alice",
            "pass": CANARY,
            "disable_hashcheck": True,
        },
        "path": "Measurements",
    },
    "destination": {
        "type": "webdav",
        "parameters": {"url": "http://127.0.0.1:1/dav", "vendor": "other", "pass": CANARY},
        "path": "archive/2026",
    },
    "options": {"report": "all"},
}
TEXT = json.dumps(GOOD)
# So that no quote in it is anything but a text's beginning or end.
assert "\\" not in TEXT
assert TEXT.isascii()


@dataclass
class Door:
    """The function, which tells in its log of every rclone that it starts."""

    function: Function

    def starts(self) -> int:
        return self.function.log.read_text().count("rclone was started")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    runtime = tmp_path_factory.mktemp("watched")
    with service_process.function(runtime, LOG_LEVEL="DEBUG") as running:
        yield Door(running)


@pytest.fixture
def door(watched: Door) -> Iterator[Door]:
    """The function; whatever a test sent to it, no rclone may have been started."""
    before = watched.starts()
    yield watched
    assert watched.starts() == before, "rclone was started"


def refused(response: requests.Response, status: int, code: str) -> dict[str, Any]:
    """The problem that the answer is; it must be this one, in time, and fit its schema."""
    assert response.elapsed.total_seconds() < LONGEST_SECONDS
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert complaints("problem", problem) == []
    assert (problem["code"], problem["status"]) == (code, status)
    assert problem["retryable"] is False
    assert CANARY not in response.text
    return problem


def with_member(member: str) -> bytes:
    """The request with one more member, written as it is given."""
    return TEXT.encode()[:-1] + b", " + member.encode("utf-8", "surrogatepass") + b"}"


# --- Bodies that are no JSON, or none that we take ---------------------------------------


def truncated() -> dict[str, bytes]:
    """The beginnings of an object: none of them is a whole one."""
    return {f"cut at {offset}": TEXT[:offset].encode() for offset in range(1, len(TEXT), 9)}


def structural() -> list[int]:
    """Where a character stands in the text that is no part of a name or a value."""
    places, within = [], False
    for index, letter in enumerate(TEXT):
        if letter == '"':
            within = not within
            places.append(index)
        elif not within and letter in "{}:,":
            places.append(index)
    return places


def outside_texts() -> list[int]:
    """Before which characters one stands outside all texts, and not at the very ends."""
    quotes = 0
    places = []
    for index, letter in enumerate(TEXT[:-1]):
        if index and quotes % 2 == 0:
            places.append(index)
        quotes += letter == '"'
    return places


def mutated() -> dict[str, bytes]:
    """150 small damages; each leaves something that is no JSON, whatever its place.

    * Without a bracket, a colon, a comma or a quote the rest does not fit together: the
      text has no escapes, so a quote too few leaves a text that does not end.
    * A bracket of the other kind closes what was not opened.
    * These control characters stand neither in a text nor between two values.
    * A lone byte from 0x80 on between ASCII is no UTF-8.
    * An x is in no number and no word of JSON.
    """
    chance = random.Random(20261122)  # noqa: S311 - the same damages in every run
    bodies = {}
    for number in range(150):
        body = bytearray(TEXT.encode())
        kind = ("lost", "bracket", "control", "byte", "letter")[number % 5]
        if kind == "lost":
            place = chance.choice(structural())
            del body[place]
        elif kind == "bracket":
            place = chance.choice([p for p in structural() if TEXT[p] in "{}"])
            body[place] = {"{": ord("["), "}": ord("]")}[TEXT[place]]
        elif kind == "control":
            place = chance.randrange(len(body) + 1)
            body.insert(place, chance.choice([*range(9), 11, 12, *range(14, 32)]))
        elif kind == "byte":
            place = chance.randrange(len(body) + 1)
            body.insert(place, chance.randrange(0x80, 0x100))
        else:
            place = chance.choice(outside_texts())
            body.insert(place, ord("x"))
        bodies[f"{number}: {kind} at {place}"] = bytes(body)
    return bodies


MUTATED = mutated()
NO_JSON = {
    "nothing": b"",
    "white space": b" \r\n\t" * 100,
    "NUL": b"\0",
    "NULs": b"\0" * 10_000,
    "a NUL behind": TEXT.encode() + b"\0",
    "text": b"copy a to b",
    "XML": b'<?xml version="1.0"?><request/>',
    "a form": b"source=a&destination=b",
    "YAML": b"source:\n  type: webdav\n",
    "twice": TEXT.encode() * 2,
    "two lines": TEXT.encode() + b"\n" + TEXT.encode(),
    "single quotes": TEXT.replace('"', "'").encode(),
    "no quotes": TEXT.replace('"', "").encode(),
    "a comma behind": TEXT.replace("}", ",}").encode(),
    "a comment": TEXT.encode() + b" // please",
    "Python's words": with_member('"a": None, "b": True'),
    "NaN": with_member('"a": NaN'),
    "Infinity": with_member('"a": Infinity'),
    "-Infinity": with_member('"a": -Infinity'),
    "a leading zero": with_member('"a": 007'),
    "a plus": with_member('"a": +1'),
    "hexadecimal": with_member('"a": 0x10'),
    "a bare point": with_member('"a": .5'),
    "1e400": with_member('"a": 1e400'),
    "-1e999999999": with_member('"a": -1e999999999'),
    "5000 digits": with_member('"a": ' + "7" * 5000),
    "a million digits": with_member('"a": ' + "7" * 1_000_000),
    "a member twice": with_member('"id": "run-43"'),
    "the same member twice": with_member('"id": "run-42"'),
    "an escaped member twice": with_member('"\\u0069d": "run-43"'),
    "a member twice, within": TEXT.replace('"port": 1', '"port": 1, "port": 2').encode(),
    "an end twice": TEXT.replace('"type": "sftp"', '"type": "sftp", "type": "local"').encode(),
    "a line end in a text": TEXT.replace("run-42", "run\n42").encode(),
    "a tab in a text": TEXT.replace("run-42", "run\t42").encode(),
    "a NUL in a text": TEXT.replace("run-42", "run\x0042").encode(),
    "a bad escape": TEXT.replace("run-42", r"run\x42").encode(),
    "a bad \\u": TEXT.replace("run-42", r"run\u00zz").encode(),
    "a short \\u": TEXT.replace("run-42", r"run\u42").encode(),
    "half a pair": TEXT.replace("run-42", r"\ud83c").encode(),
    "the other half": TEXT.replace("run-42", r"\udf89").encode(),
    "half a pair as a name": with_member(r'"\ud83c": 1'),
    "half a pair in a path": TEXT.replace("Measurements", r"a/\udfff/b").encode(),
    "a surrogate in UTF-8": TEXT.replace("run-42", "\ud800").encode("utf-8", "surrogatepass"),
    "overlong UTF-8": TEXT.encode().replace(b"run-42", b"\xc0\xaf"),
    "UTF-8 cut off": TEXT.encode().replace(b"run-42", b"\xf0\x9f\x8e"),
    "beyond Unicode": TEXT.encode().replace(b"run-42", b"\xf5\x80\x80\x80"),
    "Latin-1": TEXT.replace("run-42", "é").encode("latin-1"),
    "a byte order mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16 little": TEXT.encode("utf-16-le"),
    "UTF-16 big": TEXT.encode("utf-16-be"),
    "UTF-32": TEXT.encode("utf-32"),
    "gzip's first bytes": b"\x1f\x8b\x08\x00" + TEXT.encode(),
    "100000 lists": b"[" * 100_000 + b"]" * 100_000,
    "100000 lists, open": b"[" * 100_000,
    "100000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "as deep as there is room": b"[" * (LIMIT // 2) + b"]" * (LIMIT // 2),
    "100 deep": with_member('"a": ' + "[" * 100 + "]" * 100),
    "open quotes": b'"' * 99_999,
    "random bytes": random.Random(1).randbytes(10_000),  # noqa: S311 - the same in every run
} | truncated()


# --- Bodies that are JSON, and no request -------------------------------------------------

OF_OTHER_TYPES: list[Any] = [None, True, 12.5, "canary", ["canary"], {"canary": 1}]


def kind(value: Any) -> str:
    """JSON's name of a value's type; all numbers are one kind."""
    names = {bool: "boolean", int: "number", float: "number", str: "string", dict: "object"}
    return names.get(type(value), type(value).__name__)


def places(value: Any, *above: str) -> Iterator[tuple[str, ...]]:
    """Where every member of a document stands, those of members too."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield (*above, name)
            yield from places(below, *above, name)


def at(document: Any, place: tuple[str, ...]) -> Any:
    for name in place:
        document = document[name]
    return document


def changed(place: tuple[str, ...], value: Any) -> bytes:
    document = copy.deepcopy(GOOD)
    at(document, place[:-1])[place[-1]] = value
    return json.dumps(document).encode()


def without(*place: str) -> bytes:
    document = copy.deepcopy(GOOD)
    del at(document, place[:-1])[place[-1]]
    return json.dumps(document).encode()


def wrong_types() -> dict[str, bytes]:
    """Each member in turn with values of the types that it has not: every one has one."""
    return {
        f"/{'/'.join(place)} is {json.dumps(value)}": changed(place, value)
        for place in places(GOOD)
        for value in OF_OTHER_TYPES
        if kind(value) != kind(at(GOOD, place))
    }


NO_REQUEST = (
    {
        "null": b"null",
        "true": b"true",
        "a number": b"42",
        "a text": b'"copy"',
        "a text that holds a request": json.dumps(TEXT).encode(),
        "an empty list": b"[]",
        "a list of requests": f"[{TEXT}]".encode(),
        "an empty object": b"{}",
        "0.5e-300": b"0.5e-300",
    }
    | wrong_types()
    | {
        f"without /{'/'.join(place)}": without(*place)
        for place in [
            ("source",),
            ("destination",),
            ("source", "type"),
            ("source", "parameters"),
            ("source", "parameters", "host"),
            ("source", "parameters", "user"),
            ("source", "parameters", "pass"),
            ("destination", "parameters", "url"),
        ]
    }
    | {
        f"more at /{'/'.join(place)}": changed((*place, "surplus"), "canary")
        for place in [
            (),
            ("source",),
            ("source", "parameters"),
            ("destination",),
            ("destination", "parameters"),
            ("options",),
        ]
    }
    | {
        f"/{'/'.join(place)} is {value!r:.40}": changed(place, value)
        for place, value in [
            (("id",), ""),
            (("id",), "x" * 129),
            (("id",), "a\0b"),
            (("id",), "a\r\nb"),
            (("engine",), "fts3"),
            (("engine",), "RCLONE"),
            (("options", "report"), "everything"),
            (("source", "type"), "local"),
            (("source", "type"), "sftp "),
            (("source", "type"), ":local:"),
            (("source", "path"), ".."),
            (("source", "path"), "../../etc"),
            (("source", "path"), "a/../b"),
            (("source", "path"), "a/./b"),
            (("source", "path"), "a\0b"),
            (("source", "path"), "x" * 4097),
            (("source", "parameters", "host"), "h/../x"),
            (("source", "parameters", "host"), ""),
            (("source", "parameters", "port"), 0),
            (("source", "parameters", "port"), -1),
            (("source", "parameters", "port"), 65536),
            (("source", "parameters", "port"), 1e300),
            (("source", "parameters", "port"), 10**300),
            (("source", "parameters", "type"), "local"),
            (("source", "parameters", "ssh"), "canary"),
            (("source", "parameters", "key_file"), "/etc/passwd"),
            (("source", "parameters", "global.config"), "canary"),
            (("destination", "parameters", "url"), "http://alice:canary@127.0.0.1:1/"),
            (("destination", "parameters", "url"), "http://127.0.0.1:1/?a=canary"),
            (("destination", "parameters", "url"), "http://127.0.0.1:1/#canary"),
            (("destination", "parameters", "url"), "ftp://127.0.0.1:1/"),
            (("destination", "parameters", "url"), "file:///etc/passwd"),
            (("destination", "parameters", "url"), "http://127.0.0.1:http/"),
            (("destination", "parameters", "url"), "http://127.0.0.1:99999/"),
            (("destination", "parameters", "url"), "http://[::1/"),
            (("destination", "parameters", "url"), "http://[127.0.0.1]/"),
            (("destination", "parameters", "url"), "http://127.0.0.1\u2100x/"),
            (("destination", "parameters", "url"), "http://"),
            (("destination", "parameters", "vendor"), "canary"),
            (("destination", "parameters", "bearer_token_command"), "canary"),
            (("destination", "parameters", "unix_socket"), "/run/canary"),
            (("destination",), GOOD["source"]),
            (("destination",), {**GOOD["source"], "path": "Measurements/below"}),
        ]
    }
)


def test_there_are_enough_of_them_and_no_two_are_the_same() -> None:
    bodies = [*NO_JSON.values(), *MUTATED.values(), *NO_REQUEST.values()]
    assert len(bodies) > 350
    assert len(set(NO_JSON.values())) == len(NO_JSON)
    assert len(set(NO_REQUEST.values())) == len(NO_REQUEST)
    assert TEXT.encode() not in bodies


def test_the_request_that_they_are_made_from_is_a_good_one(watched: Door) -> None:
    """Or else all of them would be refused for another reason; and a start would not be seen."""
    before = watched.starts()
    answer = watched.function.post(TEXT.encode())
    assert answer.status_code == 502, answer.text
    assert answer.json()["code"] == "storage_unreachable"
    assert watched.starts() > before
    watched.function.wait_clean()


@pytest.mark.parametrize("name", NO_JSON)
def test_a_body_that_is_no_json_is_refused(door: Door, name: str) -> None:
    refused(door.function.post(NO_JSON[name]), 400, "invalid_json")


@pytest.mark.parametrize("name", MUTATED)
def test_a_damaged_body_is_refused(door: Door, name: str) -> None:
    refused(door.function.post(MUTATED[name]), 400, "invalid_json")


@pytest.mark.parametrize("name", NO_REQUEST)
def test_json_that_is_no_request_is_refused_with_its_reasons(door: Door, name: str) -> None:
    problem = refused(door.function.post(NO_REQUEST[name]), 400, "invalid_request")
    assert problem["errors"]
    assert "canary" not in str([error["message"] for error in problem["errors"]])


def test_a_hundred_thousand_unknown_members_are_refused_in_time(door: Door) -> None:
    surplus = ",".join(f'"{number:x}":0' for number in range(100_000))
    problem = refused(door.function.post(f"{{{surplus}}}".encode()), 400, "invalid_request")
    assert len(problem["errors"]) <= 1000


# --- Sizes ---------------------------------------------------------------------------------


def padded(length: int) -> bytes:
    """JSON of that length which is no request."""
    return b'{"surplus": "' + b"x" * (length - 15) + b'"}'


def test_a_body_of_exactly_the_limit_is_read(door: Door) -> None:
    body = padded(LIMIT)
    assert len(body) == LIMIT
    refused(door.function.post(body), 400, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        padded(LIMIT + 1),
        TEXT.encode() + b" " * LIMIT,
        padded(10 << 20),
        b"\0" * (10 << 20),
        b"[" * (10 << 20),
    ],
    ids=["one more", "a request and white space", "10 MB", "10 MB of NULs", "10 MB of brackets"],
)
def test_a_longer_body_is_refused_for_its_length(door: Door, body: bytes) -> None:
    problem = refused(door.function.post(body), 413, "body_too_large")
    assert str(LIMIT) in problem["detail"]


# --- Headers, methods, paths ---------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "text/json",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "application/x-ndjson",
        "application/json-seq",
        "application",
        "json",
        "/",
        ";charset=utf-8",
    ],
)
def test_a_good_request_that_is_not_said_to_be_json_is_refused(door: Door, kind: str) -> None:
    answer = door.function.post(TEXT.encode(), headers={"Content-Type": kind})
    refused(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "kind",
    [
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/problem+json",
        "application/vnd.example.transfer+json; version=1",
    ],
)
def test_json_may_be_called_by_all_its_names(door: Door, kind: str) -> None:
    answer = door.function.post(b"{", headers={"Content-Type": kind})
    refused(answer, 400, "invalid_json")


@pytest.mark.parametrize(
    "accept",
    [
        "text/html",
        "application/xml",
        "image/*",
        "image/*;q=0.9, image/png",
        "application/json;q=0",
        "*/*;q=0",
        "nonsense",
        "application/jsonx",
    ],
)
def test_a_good_request_whose_answer_nobody_could_read_is_refused(door: Door, accept: str) -> None:
    answer = door.function.post(TEXT.encode(), headers={"Accept": accept})
    refused(answer, 406, "not_acceptable")


@pytest.mark.parametrize("path", ["/", "/healthz", "/schema/request"])
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_a_method_that_a_path_does_not_have_is_refused(door: Door, method: str, path: str) -> None:
    body = TEXT.encode() if method != "TRACE" else None
    headers = {"Content-Type": "application/json"}
    answer = requests.request(
        method, door.function.url + path, data=body, headers=headers, timeout=10
    )
    refused(answer, 405, "method_not_allowed")
    allowed = {"GET", "HEAD", "POST"} if path == "/" else {"GET", "HEAD"}
    assert set(answer.headers["Allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/healthz", "/schema/request", "/schema/problem"])
def test_a_request_is_not_taken_elsewhere(door: Door, path: str) -> None:
    answer = requests.post(door.function.url + path, json=GOOD, timeout=10)
    refused(answer, 405, "method_not_allowed")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/schema",
        "/schema/",
        "/schema/nothing",
        "/schema/request.schema.json",
        "/schema/request/more",
        "/schema/..%2Frequest",
        "/schema/%2e%2e/%2e%2e/etc/passwd",
        "/healthz/more",
        "/HEALTHZ",
        "/%00",
        "/%ff",
        "/%F0%9F%8E%89",
        "/" + "x" * 7000,
    ],
    ids=lambda path: path[:30],
)
def test_there_is_nothing_at_any_other_path(door: Door, method: str, path: str) -> None:
    answer = requests.request(
        method,
        door.function.url + path,
        data=TEXT.encode() if method != "GET" else None,
        headers={"Content-Type": "application/json"},
        timeout=10,
    )
    refused(answer, 404, "not_found")


# --- What only a client that speaks HTTP badly can send ------------------------------------

POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
WHOLE = TEXT.encode()
CHUNK = b"%x\r\n%s\r\n" % (len(WHOLE), WHOLE)


@dataclass
class Answer:
    """What stands in an HTTP answer, as it was read from a socket."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


def said(function: Function, content: bytes, *, hang_up: bool = True) -> Answer:
    """The answer to these very bytes, after which the client says no more."""
    address = urlsplit(function.url)
    began = time.monotonic()
    with socket.create_connection((str(address.hostname), address.port or 0), 10) as connection:
        connection.sendall(content)
        if hang_up:
            connection.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(connection)
        response.begin()
        body = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, body, time.monotonic() - began)


def told(answer: Answer, status: int, code: str) -> None:
    """The same as `refused`, of an answer that was read by hand."""
    assert answer.seconds < LONGEST_SECONDS
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert complaints("problem", problem) == []
    assert (problem["code"], problem["status"]) == (code, status)
    assert CANARY not in answer.body.decode()


@pytest.mark.parametrize(
    "content",
    [
        CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"-5\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"0x5\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"5 5\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"ffffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"2\r\n{}xx0\r\n\r\n",
        CHUNKED + b"1\r\n{}\r\n0\r\n\r\n",
        CHUNKED + WHOLE,
        CHUNKED + CHUNK + b"zz\r\n",
        CHUNKED + CHUNK + b"5\r\nab",
        CHUNKED + CHUNK,
        CHUNKED + b"0\r\n\r\n",
        CHUNKED,
        CHUNKED + b"1\r\n{\r\n0\r\n\r\n",
    ],
    ids=[
        "no number",
        "less than none",
        "0x",
        "no length",
        "two numbers",
        "endless",
        "no end of a chunk",
        "longer than it says",
        "not chunked at all",
        "garbage after a whole request",
        "cut off after a whole request",
        "a whole request without an end",
        "nothing",
        "not even nothing",
        "well chunked, and no JSON",
    ],
)
def test_a_body_in_bad_chunks_is_refused(door: Door, content: bytes) -> None:
    told(said(door.function, content), 400, "invalid_json")


@pytest.mark.parametrize(
    ("length", "sent"),
    [
        (len(WHOLE), WHOLE[:-1]),
        (len(WHOLE), WHOLE[:100]),
        (len(WHOLE), b""),
        (len(WHOLE) + 1, WHOLE),
        (len(WHOLE) + 100_000, WHOLE),
        (10**18, WHOLE),
    ],
    ids=["one byte", "most", "all", "one byte more was promised", "many were", "no end of them"],
)
def test_a_body_that_breaks_off_is_refused_even_where_it_is_a_whole_request(
    door: Door, length: int, sent: bytes
) -> None:
    content = POST + b"Content-Length: %d\r\n\r\n" % length + sent
    told(said(door.function, content), 400, "invalid_json")


def test_a_body_that_is_longer_than_it_says_is_cut_and_refused(door: Door) -> None:
    content = POST + b"Content-Length: %d\r\n\r\n" % (len(WHOLE) - 1) + WHOLE
    told(said(door.function, content, hang_up=False), 400, "invalid_json")


def test_a_request_without_a_body_or_its_type_is_refused(door: Door) -> None:
    told(said(door.function, POST + b"\r\n"), 400, "invalid_json")
    no_type = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(WHOLE) + WHOLE
    told(said(door.function, no_type), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "path", [b"/schema/../../../etc/passwd", b"/.", b"/..", b"/%2e%2e/", b"/a//b", b"/?x=/../y/z/"]
)
def test_a_path_is_not_followed_anywhere(door: Door, path: bytes) -> None:
    answer = said(door.function, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    if path.startswith(b"/?"):  # a query is no part of the path
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    else:
        told(answer, 404, "not_found")


@pytest.mark.parametrize(
    "content",
    [
        b"\r\n\r\n",
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"post / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/9.9\r\nHost: x\r\n\r\n",
        POST + b"Content-Length: many\r\n\r\n" + WHOLE,
        POST + b"Content-Length: -1\r\n\r\n" + WHOLE,
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n" + WHOLE,
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNK + b"0\r\n\r\n",
        POST + b"Transfer-Encoding: gzip\r\n\r\n" + WHOLE,
        POST + b"Content-Length : 5\r\n\r\n" + WHOLE,
        POST + b"X-Surplus: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
    ids=[
        "nothing",
        "garbage",
        "TLS",
        "a method in small letters",
        "another HTTP",
        "a length in words",
        "less than nothing",
        "two lengths",
        "a length and chunks",
        "an encoding that is none",
        "a space in a header",
        "an endless header",
    ],
)
def test_what_is_no_http_is_refused_by_the_server_before_us(door: Door, content: bytes) -> None:
    # gunicorn answers these by itself, so there is no problem document.
    answer = said(door.function, content, hang_up=False)
    assert 400 <= answer.status < 500
    assert answer.seconds < LONGEST_SECONDS


@pytest.mark.parametrize(
    ("kind", "status"), [(b"text/plain", 415), (b"application/json", 400)], ids=["unread", "read"]
)
def test_a_refused_body_is_not_taken_for_the_next_request(
    door: Door, kind: bytes, status: int
) -> None:
    inner = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    inner += b"Content-Length: %d\r\n\r\n" % len(WHOLE) + WHOLE
    first = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: " + kind
    first += b"\r\nContent-Length: %d\r\n\r\n" % len(inner) + inner
    address = urlsplit(door.function.url)
    with socket.create_connection((str(address.hostname), address.port or 0), 10) as connection:
        connection.sendall(first)
        refusal = http.client.HTTPResponse(connection)
        refusal.begin()
        assert refusal.status == status
        refusal.read()
        connection.sendall(b"GET /schema/event HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        then = http.client.HTTPResponse(connection)
        then.begin()
        assert json.loads(then.read()) == schema("event")


# --- What the service says of itself -------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_given_out_as_it_stands_in_its_file(function: Function, name: str) -> None:
    answer = function.get(f"/schema/{name}")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/schema+json"
    assert answer.json() == schema(name)


def test_the_front_door_tells_what_there_is(function: Function) -> None:
    answer = function.get("/")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    described = answer.json()
    types = schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"]
    assert described["storage_types"] == types
    assert described["engines"] == schema("request")["properties"]["engine"]["enum"]
    assert set(described["links"]["schemas"]) == set(NAMES)
    for link in (described["links"]["health"], *described["links"]["schemas"].values()):
        assert function.get(link).status_code == 200, link


def test_the_health_names_the_engine_and_its_version(function: Function) -> None:
    answer = function.get("/healthz")
    assert answer.status_code == 200
    health = answer.json()
    assert health["status"] == "ok"
    assert health["engines"]["rclone"]["usable"] is True
    assert tuple(map(int, health["engines"]["rclone"]["version"].split("."))) >= (1, 75, 0)
    assert health["version"] == function.get("/").json()["version"]


@pytest.mark.parametrize("path", ["/", "/healthz", *[f"/schema/{name}" for name in NAMES]])
def test_head_is_as_get_without_the_body(function: Function, path: str) -> None:
    head, get = requests.head(function.url + path, timeout=10), function.get(path)
    assert head.status_code == 200
    assert head.content == b""
    for header in ("Content-Type", "Content-Length", "Cache-Control"):
        assert head.headers[header] == get.headers[header]
    assert int(head.headers["Content-Length"]) == len(get.content)


def test_head_of_nothing_is_as_get_of_nothing(function: Function) -> None:
    head = requests.head(function.url + "/nothing", timeout=10)
    assert (head.status_code, head.content) == (404, b"")


@pytest.mark.parametrize("path", ["/healthz/", "/schema/request/"])
def test_a_slash_behind_a_path_does_no_harm(function: Function, path: str) -> None:
    assert function.get(path).json() == function.get(path.rstrip("/")).json()
