"""From a body to a request: what JSON may hold, what is kept, and what is never shown."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema.exceptions import ValidationError

from efss_transfer.contract import validation
from efss_transfer.contract.request_parser import parse
from efss_transfer.contract.validation import MAX_VIOLATIONS
from efss_transfer.model.errors import InvalidJson, InvalidRequest, Violation

CANARY = "canary-3f1d"
GOOD: dict[str, Any] = {
    "source": {
        "type": "webdav",
        "parameters": {"url": "https://cloud.example.org/dav"},
        "path": "",
    },
    "destination": {"type": "s3", "parameters": {"anonymous": True}, "path": "bucket"},
}
TEXT = json.dumps(GOOD)
FTP = {"host": "ftp.example.org", "user": "alice", "pass": "password"}


def with_member(text: str) -> bytes:
    """A request that is good but for this member, which is written as it is given."""
    return TEXT.removesuffix("}").encode() + b", " + text.encode("utf-8", "surrogatepass") + b"}"


def violations(document: Any) -> dict[str, str]:
    """What is wrong with a request: the keyword at each pointer."""
    with pytest.raises(InvalidRequest) as refused:
        parse(json.dumps(document).encode())
    return {violation.pointer: violation.keyword for violation in refused.value.violations}


@pytest.mark.parametrize(
    "body",
    [
        TEXT,
        f" \r\n\t{TEXT}\n\n",
        json.dumps(GOOD, indent=4),
        TEXT.replace("webdav", "\\u0077ebdav"),
    ],
    ids=["compact", "white space around", "indented", "escaped letters"],
)
def test_any_json_spelling_of_a_request_is_accepted(body: str) -> None:
    parsed = parse(body.encode())
    assert parsed.source.type == "webdav"
    assert parsed.destination.path == "bucket"


def test_omitted_members_have_defaults() -> None:
    parsed = parse(TEXT.encode())
    assert parsed.id is None
    assert parsed.engine == "rclone"
    assert parsed.options.report == "errors"
    assert parsed.source.path == ""


REFUSED = {
    "nothing": b"",
    "white space": b" \n\t ",
    "cut off": TEXT[:-1].encode(),
    "two documents": TEXT.encode() * 2,
    "a comma too many": TEXT.replace("}", ",}").encode(),
    "single quotes": TEXT.replace('"', "'").encode(),
    "a comment": b"// request\n" + TEXT.encode(),
    "a line's end in a text": with_member('"id": "a\nb"'),
    "a byte order mark": b"\xef\xbb\xbf" + TEXT.encode(),
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16 without a mark": TEXT.encode("utf-16-le"),
    "UTF-32": TEXT.encode("utf-32"),
    "Latin-1": with_member('"id": "é"').replace("é".encode(), b"\xe9"),
    "an overlong zero": with_member('"id": "?"').replace(b"?", b"\xc0\x80"),
    "a surrogate in UTF-8": with_member('"id": "\ud800"'),
    "half a pair in a value": with_member('"id": "\\ud83c"'),
    "the other half": with_member('"id": "\\udf89"'),
    "a pair in the wrong order": with_member('"id": "\\udf89\\ud83c"'),
    "half a pair in a name": with_member('"\\ud800": 1'),
    "half a pair deep within": with_member('"selection": [[{"a": ["\\udfff"]}]]'),
    "a member twice": with_member('"id": "a", "id": "b"'),
    "a member twice, once escaped": with_member('"id": "a", "\\u0069d": "a"'),
    "a member twice, within": with_member('"options": {"report": "all", "report": "all"}'),
    "a member twice, in a list": with_member('"selection": [{"a": 1, "a": 1}]'),
    "NaN": with_member('"attempts": NaN'),
    "Infinity": with_member('"attempts": Infinity'),
    "less than all numbers": with_member('"attempts": -Infinity'),
    "more than a float holds": with_member('"attempts": 1e400'),
    "less than a float holds": with_member('"attempts": -1e400'),
    "5000 digits": with_member(f'"attempts": {"9" * 5000}'),
    "minus 5000 digits": with_member(f'"attempts": -{"9" * 5000}'),
    "a million digits": with_member(f'"attempts": {"9" * 1_000_000}'),
    "100000 lists": b"[" * 100_000 + b"]" * 100_000,
    "100000 lists, never closed": b"[" * 100_000,
    "100000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "100000 lists in a member": with_member('"id": ' + "[" * 100_000 + "]" * 100_000),
    "100 objects in a member": with_member('"id": ' + '{"a":' * 100 + "1" + "}" * 100),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unacceptable_json_is_refused(name: str) -> None:
    began = time.process_time()
    with pytest.raises(InvalidJson):
        parse(REFUSED[name])
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "member",
    ['"attempts": 1e308', f'"attempts": {"9" * 4000}', '"attempts": -0.0', '"attempts": 1e-400'],
)
def test_readable_number_is_checked_by_the_schema(member: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(with_member(member))
    assert [violation.pointer for violation in refused.value.violations] == ["/attempts"]


def test_complete_surrogate_pair_is_accepted() -> None:
    assert parse(with_member('"id": "\\ud83c\\udf89"')).id == "🎉"


@pytest.mark.parametrize(
    "body",
    [
        f'{{"id": "{CANARY}", "id": 1}}',
        f'{{"{CANARY}": 1, "{CANARY}": 2}}',
        f'{{"id": "{CANARY}"',
        f'{{"id": {CANARY}}}',
        f'{{"id": "{CANARY} \\ud800"}}',
        f'{{"id": "{CANARY}", "a": 1e400}}',
        f'{{"id": "{CANARY}", "a": NaN}}',
        f'{{"id": "{CANARY}", "a": {"[" * 100_000}',
    ],
    ids=["twice", "name", "cut", "bare", "surrogate", "huge", "nan", "deep"],
)
def test_json_error_quotes_nothing_from_the_body(body: str) -> None:
    with pytest.raises(InvalidJson) as refused:
        parse(body.encode())
    # As a log would show it: causes and contexts too, unless they are suppressed.
    told = traceback.format_exception_only(refused.value)
    causes = [refused.value.__cause__]
    if not refused.value.__suppress_context__:
        causes.append(refused.value.__context__)
    told += [str(cause) + repr(cause) for cause in causes if cause is not None]
    assert CANARY not in "".join(told)


def test_json_error_has_line_and_column() -> None:
    with pytest.raises(InvalidJson, match="line 2, column 9"):
        parse(b'{\n  "id": x}')


def many(count: int) -> dict[str, int]:
    return {f"unknown-{number:06}": number for number in range(count)}


@pytest.mark.parametrize(
    "surplus",
    [
        many(50_000),
        {"selection": {"files": [1] * 400_000}},
        {"selection": {"include": [1] * 400_000}},
        {"selection": {"files": [{"path": "/"}] * 50_000}},
    ],
    ids=["members", "files", "patterns", "paths"],
)
def test_search_for_violations_ends_at_the_limit(
    surplus: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = 0
    translate = validation._violations

    def counted(error: ValidationError, at: str) -> Iterator[Violation]:
        nonlocal seen
        for violation in translate(error, at):
            seen += 1
            yield violation

    monkeypatch.setattr(validation, "_violations", counted)
    with pytest.raises(InvalidRequest) as refused:
        parse(json.dumps({**GOOD, **surplus}).encode())
    assert seen == MAX_VIOLATIONS + 1
    assert len(refused.value.violations) == MAX_VIOLATIONS
    assert f"more than {MAX_VIOLATIONS} errors" in str(refused.value)


def test_violations_up_to_the_limit_are_listed() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(json.dumps({**GOOD, **many(MAX_VIOLATIONS)}).encode())
    assert len(refused.value.violations) == MAX_VIOLATIONS
    assert str(refused.value) == f"The request has {MAX_VIOLATIONS} errors; see 'errors'."


@pytest.mark.parametrize("where", ["source", "parameters", "options"])
def test_many_unknown_members_are_refused_quickly(where: str) -> None:
    document = json.loads(TEXT)
    place = {
        "source": document["source"],
        "parameters": document["destination"]["parameters"],
        "options": document.setdefault("options", {}),
    }[where]
    place.update(many(40_000))

    began = time.process_time()
    found = violations(document)
    assert time.process_time() - began < 5
    assert len(found) == MAX_VIOLATIONS


def test_single_error_is_singular() -> None:
    with pytest.raises(InvalidRequest, match=r"^The request has 1 error; see 'errors'\.$"):
        parse(with_member('"priority": 1'))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": 1}, "Must be a string."),
        ({"id": ""}, "Must not be empty."),
        ({"id": "\n"}, "Must be a single line without control characters."),
        ({"options": {"dry_run": "yes"}}, "Must be true or false."),
        ({"selection": {"files": []}}, "Must not be empty."),
        (
            {"selection": {"modified_after": "yesterday"}},
            "Must be a date, a time and an offset, such as 2026-01-31T12:00:00Z.",
        ),
        (
            {"destination": {"type": "ftp", "parameters": {**FTP, "host": "ftp://h"}, "path": ""}},
            "Must be a host name or an IP address, without a scheme, a port or a path.",
        ),
        ({"id": "x" * 129}, "Must have at most 128 characters."),
        ({"engine": "x"}, "Must be one of: rclone, tpc, fts."),
        ({"priority": 1}, "Unknown member."),
        ({"source": {}}, "Missing: type, parameters, path."),
        ({"source": {"type": "webdav"}}, "Missing: parameters, path."),
        ({"source": {"storage": "archive"}}, "Missing: path."),
        (
            {"destination": {"type": "s3", "parameters": {"anonymous": True}, "path": "/"}},
            "Must begin with a bucket, such as bucket/folder.",
        ),
        (
            {"source": {"type": "sftp", "parameters": {"host": "h", "user": "u"}, "path": ""}},
            "Give `pass` or `key_pem`.",
        ),
        (
            {
                "destination": {
                    "type": "google cloud storage",
                    "parameters": {"anonymous": False},
                    "path": "bucket",
                }
            },
            "Must be true, or be left out.",
        ),
        (
            {"destination": {"type": "ftp", "parameters": {**FTP, "port": 0}, "path": ""}},
            "Must be at least 1.",
        ),
        (
            {"destination": {"type": "ftp", "parameters": {**FTP, "port": 70000}, "path": ""}},
            "Must be at most 65535.",
        ),
    ],
)
def test_message_says_what_is_expected(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(json.dumps({**GOOD, **change}).encode())
    assert [violation.message for violation in refused.value.violations] == [message]


def test_pattern_message_describes_the_form() -> None:
    with pytest.raises(InvalidRequest, match="1 error") as refused:
        parse(json.dumps({**GOOD, "destination": {**GOOD["destination"], "path": ".."}}).encode())
    assert "Must not have a part that is `.` or `..`" in refused.value.violations[0].message


def test_pointer_is_escaped_by_rfc_6901() -> None:
    assert violations({**GOOD, "a/b~c": 1}) == {"/a~1b~0c": "unevaluatedProperties"}


def test_long_member_name_is_shortened() -> None:
    [pointer] = violations({**GOOD, "n" * 100_000: 1})
    assert pointer.startswith("/nnn")
    assert len(pointer) < 200


@pytest.mark.parametrize(
    ("parameters", "missing"),
    [
        ({"access_key_id": "id"}, "secret_access_key"),
        ({"secret_access_key": "key"}, "access_key_id"),
        ({"session_token": "token"}, "access_key_id"),
    ],
)
def test_half_of_a_key_pair_reports_the_missing_half(
    parameters: dict[str, str], missing: str
) -> None:
    document = {**GOOD, "destination": {"type": "s3", "parameters": parameters, "path": "b"}}
    with pytest.raises(InvalidRequest) as refused:
        parse(json.dumps(document).encode())
    assert missing in refused.value.violations[0].message


@pytest.mark.parametrize(
    ("end", "name", "longest"),
    [
        ("destination", "path", 4096),
        ("source", "parameters/pass", 65536),
        ("source", "parameters/user", 1024),
        ("destination", "parameters/region", 128),
    ],
)
def test_text_length_is_limited(end: str, name: str, longest: int) -> None:
    document = json.loads(TEXT)
    place, _, member = name.rpartition("/")
    target = document[end][place] if place else document[end]

    target[member] = "x" * longest
    accepted = parse(json.dumps(document).encode())
    assert "x" * longest in (accepted.destination.path, *document[end]["parameters"].values())

    target[member] = "x" * (longest + 1)
    assert violations(document) == {f"/{end}/{name}": "maxLength"}


def test_long_invalid_text_is_refused_quickly() -> None:
    document = json.loads(TEXT)
    document["source"]["parameters"]["url"] = "https://" + "a" * 500_000 + "\n"
    document["destination"]["path"] = "a/" * 200_000 + ".."

    began = time.process_time()
    found = violations(document)
    assert time.process_time() - began < 2
    assert set(found) == {"/source/parameters/url", "/destination/path"}


@pytest.mark.parametrize("whole", ["22", "22.0", "2.2e1"])
def test_integral_port_is_accepted_in_any_spelling(whole: str) -> None:
    body = TEXT.replace(
        '{"type": "s3", "parameters": {"anonymous": true}',
        '{"type": "sftp", "parameters": {"host": "h", "user": "u", "pass": "p", "port": PORT}',
    )
    assert parse(body.replace("PORT", whole).encode()).destination.parameters["port"] == 22


EVERY_PARAMETER: dict[str, dict[str, Any]] = {
    "webdav": {
        "url": "https://cloud.example.org/dav",
        "vendor": "other",
        "user": "alice",
        "pass": f"{CANARY}-pass",
        "bearer_token": f"{CANARY}-token",
    },
    "s3": {
        "provider": "Ceph",
        "endpoint": "s3.example.org",
        "region": "region",
        "access_key_id": f"{CANARY}-id",
        "secret_access_key": f"{CANARY}-key",
        "session_token": f"{CANARY}-session",
        "force_path_style": True,
        "location_constraint": "region",
        "storage_class": "STANDARD",
        "no_check_bucket": True,
    },
    "sftp": {
        "host": "sftp.example.org",
        "port": 22,
        "user": "alice",
        "pass": f"{CANARY}-pass",
        "key_pem": f"{CANARY}\n-pem",
        "key_file_pass": f"{CANARY}-phrase",
        "host_keys": "ssh-ed25519 AAAA",
        "disable_hashcheck": True,
    },
    "ftp": {
        "host": "ftp.example.org",
        "port": 21,
        "user": "alice",
        "pass": f"{CANARY}-pass",
        "tls": True,
        "explicit_tls": False,
        "disable_mlsd": True,
    },
    "google cloud storage": {
        "service_account_credentials": f'{{"a": "{CANARY}-json"}}',
        "access_token": f"{CANARY}-token",
        "anonymous": True,
        "endpoint": "storage.example.org",
        "project_number": "1",
        "location": "europe",
        "bucket_policy_only": True,
        "no_check_bucket": True,
    },
}


@pytest.mark.parametrize("storage", EVERY_PARAMETER)
def test_secrets_are_exactly_the_credentials(storage: str) -> None:
    parameters = EVERY_PARAMETER[storage]
    end = {"type": storage, "parameters": parameters, "path": "a"}

    parsed = parse(json.dumps({"source": end, "destination": end}).encode())

    credentials = {value for value in parameters.values() if CANARY in str(value)}
    assert parsed.source.secrets == credentials
    assert parsed.destination.secrets == credentials


@pytest.mark.parametrize("storage", EVERY_PARAMETER)
def test_repr_of_a_request_has_no_credentials(storage: str) -> None:
    end = {"type": storage, "parameters": EVERY_PARAMETER[storage], "path": "a"}
    parsed = parse(json.dumps({"source": end, "destination": end}).encode())

    for shown in (repr(parsed), str(parsed), f"{parsed.source}", repr(parsed.destination)):
        assert CANARY not in shown
        assert storage in shown


@pytest.mark.parametrize(
    ("place", "name", "meant"),
    [
        (("source", "type"), "WebDAV", "webdav"),
        (("source", "type"), "nextcloud", "webdav"),
        (("source", "type"), "gcs", "google cloud storage"),
        (("source", "type"), "sftpp", "sftp"),
        (("source", "type"), "gopher", None),
        (("source", "parameters", "vendor"), "ownCloud", "owncloud"),
        (("source", "parameters", "vendor"), "opencloud", "infinitescale"),
        (("options", "verify"), "checksums", "checksum"),
        (("options", "verify"), 3, None),
    ],
)
def test_misspelt_value_is_told_the_one_that_was_meant(
    place: tuple[str, ...], name: Any, meant: str | None
) -> None:
    document = json.loads(TEXT)
    part = document
    for step in place[:-1]:
        part = part.setdefault(step, {})
    part[place[-1]] = name
    with pytest.raises(InvalidRequest) as refused:
        parse(json.dumps(document).encode())
    told = [it.message for it in refused.value.violations if it.keyword == "enum"]
    assert len(told) == 1
    if meant is None:
        assert "Did you mean" not in told[0]
    else:
        assert told[0].endswith(f" Did you mean `{meant}`?")


@pytest.mark.parametrize(
    ("place", "name", "meant"),
    [
        ((), "sources", "source"),
        ((), "option", "options"),
        (("source", "parameters"), "password", "pass"),
        (("source", "parameters"), "username", "user"),
        (("source", "parameters"), "URL", "url"),
        (("source",), "params", None),
        (("options",), "dry-run", "dry_run"),
        (("options",), CANARY, None),
    ],
)
def test_misspelt_member_is_told_the_one_that_was_meant(
    place: tuple[str, ...], name: str, meant: str | None
) -> None:
    document = json.loads(TEXT)
    part = document
    for step in place:
        part = part.setdefault(step, {})
    part[name] = "x"
    with pytest.raises(InvalidRequest) as refused:
        parse(json.dumps(document).encode())
    pointer = "".join(f"/{step}" for step in (*place, name))
    (told,) = [it.message for it in refused.value.violations if it.pointer == pointer]
    question = f" Did you mean `{meant}`?" if meant else ""
    assert told == f"Unknown member.{question}"
