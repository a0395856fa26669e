"""What is no request of ours is refused at the door, quickly, and starts nothing.

Every body here is wrong by its construction, not because the service says so. The
function under test is given an rclone that leaves a mark when it is started.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from support.door import GOOD, LIMIT, TEXT, Door, padded, refused


def with_member(member: str) -> bytes:
    """The request with one more member, written as it is given."""
    return TEXT.encode()[:-1] + b", " + member.encode("utf-8", "surrogatepass") + b"}"


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


@pytest.mark.field_case("K8")
def test_a_hundred_thousand_unknown_members_are_refused_in_time(door: Door) -> None:
    surplus = ",".join(f'"{number:x}":0' for number in range(100_000))
    problem = refused(door.function.post(f"{{{surplus}}}".encode()), 400, "invalid_request")
    assert len(problem["errors"]) <= 1000


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
