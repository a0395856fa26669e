"""From the texts of rclone and its storages to codes; and what nobody may read in them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from efss_transfer.engines.rclone.log.error_codes import Rule, classify, rules
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.errors import CODES
from efss_transfer.model.result import Side

NOTHING_SECRET = Redactor(())


EXAMPLES = [(rule, example) for rule in rules() for example in rule.examples]


@pytest.mark.parametrize(("rule", "example"), EXAMPLES, ids=[text[:60] for _, text in EXAMPLES])
def test_the_example_of_a_rule_is_told_by_that_very_rule(rule: Rule, example: str) -> None:
    failure = classify(example, None, NOTHING_SECRET)

    assert failure.code == rule.code
    expected = CODES[rule.code].retryable if rule.retryable is None else rule.retryable
    assert failure.retryable is expected
    # If another came first, this one would be for nothing.
    assert next(other for other in rules() if other.matches(example)) is rule


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.expression.pattern[:60])
def test_a_rule_has_a_code_of_the_contract_an_example_and_a_reason_to_differ(rule: Rule) -> None:
    assert rule.code in CODES
    assert rule.examples
    if rule.retryable is not None:
        assert rule.retryable is not CODES[rule.code].retryable, "it says what holds anyway"
        assert rule.why


# The table of efss-facts.md, as servers really answered; "…" stands for what was left out.
MEASURED = [
    (r"Sabre\DAV\Exception\NotAuthenticated: 401 Unauthorized", "authentication_failed", False),
    ("401 Unauthorized", "authentication_failed", False),
    (
        r"uploading chunk failed: Sabre\DAV\Exception\NotAuthenticated: 401",
        "authentication_failed",
        False,
    ),
    (r"OCP\…\TooManyRequests: 429 Too Many Requests", "storage_busy", True),
    ("directory not found", "source_not_found", False),
    ("object not found", "source_not_found", False),
    ("is a file not a directory", "not_a_directory", False),
    ("is a directory not a file", "not_a_directory", False),
    (
        (
            "Update mkParentDir failed: Parent node is not a collection: "
            r"Sabre\DAV\Exception\Conflict: 409 Conflict"
        ),
        "not_a_directory",
        False,
    ),
    ("405 Method Not Allowed", "unsupported", False),
    (
        r"read metadata failed: Permission denied to create directory: …\Forbidden: 403",
        "permission_denied",
        False,
    ),
    (r"Sabre\DAV\Exception\Forbidden: 403 Forbidden", "permission_denied", False),
    (
        (
            "finalize chunked upload failed, destinationURL: "
            "http://cloud.example.org/remote.php/dav/files/alice/f: 403 Forbidden"
        ),
        "permission_denied",
        False,
    ),
    (
        r"Only PUT is allowed on files drop: …\MethodNotAllowed: 405 Method Not Allowed",
        "unsupported",
        False,
    ),
    (
        (
            r"couldn't list files: Sabre\DAV\Exception\NotFound: : "
            r"Sabre\DAV\Exception\ServiceUnavailable: 503 Service Unavailable"
        ),
        "source_not_found",
        False,
    ),
    (
        r"couldn't list files: Sabre\DAV\Exception\NotAuthenticated: 401 Unauthorized",
        "authentication_failed",
        False,
    ),
    (
        (
            "unchunked simple update failed: Insufficient space in /q/f8.bin, 8388608 required, "
            r"5242880 available: Sabre\DAV\Exception\InsufficientStorage: 507 Insufficient Storage"
        ),
        "quota_exceeded",
        False,
    ),
    (r'… "/lk/a.txt" is locked: OCA\…\FileLocked: 423 Locked', "storage_busy", True),
    (
        r"System is in maintenance mode.: OC\…\ServerMaintenanceMode: 503 Service Unavailable",
        "storage_busy",
        True,
    ),
    (
        (
            r"OC\User\DisabledUserException: Account disabled: "
            r"Sabre\DAV\Exception\ServiceUnavailable: 503 Service Unavailable"
        ),
        "authentication_failed",
        False,
    ),
    (r"Filename is too long: OCA\…\InvalidPath: 400 Bad Request", "name_refused", False),
    (r"Filename is a reserved word: OCA\…\InvalidPath: 400 Bad Request", "name_refused", False),
    (
        r'"\" is not allowed inside a file or folder name.: OCA\…\InvalidPath: 400 Bad Request',
        "name_refused",
        False,
    ),
    (r'".part" is a forbidden file type.: OCA\…\InvalidPath: 400', "name_refused", False),
    (
        (
            "X-OC-MTime header must be a valid positive unix timestamp greater than one day: "
            "InvalidArgumentException: 500 Internal Server Error"
        ),
        "storage_error",
        False,
    ),
    (
        (
            'Propfind "https://cloud.example.org/": dial tcp 192.0.2.1:443: connect: connection '
            "refused"
        ),
        "storage_unreachable",
        True,
    ),
    (
        "dial tcp: lookup cloud.example.org on 192.0.2.53:53: no such host",
        "storage_unreachable",
        False,
    ),
    (
        "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        "storage_unreachable",
        False,
    ),
    ("dial tcp 192.0.2.1:443: i/o timeout", "storage_unreachable", True),
    (
        "can't copy - source file is being updated (size changed from 503 to 507)",
        "checksum_mismatch",
        True,
    ),
    ("context canceled", "cancelled", True),
    (
        (
            "the remote url looks incorrect. Note that nextcloud chunked uploads require you to "
            "use the /dav/files/USER endpoint"
        ),
        "unsupported",
        False,
    ),
]


@pytest.mark.parametrize(
    ("text", "code", "retryable"), MEASURED, ids=[t[:60] for t, _, _ in MEASURED]
)
def test_what_servers_were_seen_to_answer_is_understood(
    text: str, code: str, retryable: bool
) -> None:
    failure = classify(text, Side.SOURCE, NOTHING_SECRET)
    assert (failure.code, failure.retryable) == (code, retryable)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the flux capacitor is out of plutonium",
        "500 Internal Server Error",
        "unexpected status 418 I'm a teapot",
        "xml: syntax error on line 3",
        # The digits of a code within a longer number are no code.
        "read 14031 of 50300 bytes",
        "short read of 4010 bytes",
        "short write: 507 of 9000 bytes",
        "got 503 bytes and 429 more",
        "line 403, column 401",
        "<html><body>503 Service Unavailable: 423</body></html>: 418 I'm a teapot",
    ],
)
def test_what_nobody_knows_is_a_storage_error_and_not_guessed(text: str) -> None:
    failure = classify(text, None, NOTHING_SECRET)
    assert (failure.code, failure.retryable, failure.side) == ("storage_error", False, None)
    assert failure.message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("read 1530 bytes: unexpected EOF", "storage_unreachable"),
        ("short write: 4530 of 9000 bytes", "storage_error"),
    ],
)
def test_a_count_of_bytes_is_not_taken_for_a_refused_login(text: str, code: str) -> None:
    assert classify(text, None, NOTHING_SECRET).code == code


@pytest.mark.parametrize("text", ["530 Login incorrect.", "ftp: couldn't connect: 530 Denied"])
def test_a_login_that_ftp_refuses_is_seen(text: str) -> None:
    assert classify(text, None, NOTHING_SECRET).code == "authentication_failed"


@pytest.mark.parametrize(
    "text",
    [
        "directory not found",
        "object not found",
        "NoSuchBucket: The specified bucket does not exist",
        r"couldn't list files: Sabre\DAV\Exception\NotFound: : ServiceUnavailable: 503",
    ],
)
def test_what_is_missing_at_the_destination_is_no_missing_source(text: str) -> None:
    assert classify(text, Side.SOURCE, NOTHING_SECRET).code == "source_not_found"
    assert classify(text, None, NOTHING_SECRET).code == "source_not_found"

    there = classify(text, Side.DESTINATION, NOTHING_SECRET)
    assert (there.code, there.side, there.retryable) == (
        "storage_error",
        Side.DESTINATION,
        False,
    )


def test_a_source_that_is_full_is_no_full_destination() -> None:
    text = "failed to open source object: 507 Insufficient Storage"
    there = classify(text, None, NOTHING_SECRET)
    assert (there.code, there.side, there.retryable) == ("storage_error", Side.SOURCE, False)


@pytest.mark.parametrize(
    "text",
    [
        "401 Unauthorized",
        'HTTP error 401 (401 Unauthorized) returned body: ""',
        "HTTP Error: 401: 401 Unauthorized",
        "googleapi: got HTTP response code 401 with body: ",
        "googleapi: Error 401: Invalid Credentials, authError",
        "Invalid response status! Got 401, expected [200]",
        "GET https://account.blob.core.windows.net/c -------- RESPONSE 401: 401 Unauthorized",
        "https response error StatusCode: 401, RequestID: , HostID: , api error Unknown: x",
        "<html><body>503: try 403 again</body></html>: 401 Unauthorized",
    ],
)
def test_a_status_is_seen_in_every_form_in_which_rclone_writes_one(text: str) -> None:
    assert classify(text, None, NOTHING_SECRET).code == "authentication_failed"


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("error reading source root directory: 403 Forbidden", Side.SOURCE),
        ("failed to open source object: 403 Forbidden", Side.SOURCE),
        ("can't copy - source file is being updated (size changed)", Side.SOURCE),
        ("error reading destination root directory: 403 Forbidden", Side.DESTINATION),
        ("Update mkParentDir failed: 403 Forbidden", Side.DESTINATION),
        ("uploading chunk failed: 403 Forbidden", Side.DESTINATION),
    ],
)
def test_a_side_that_the_text_names_goes_before_the_one_that_was_assumed(
    text: str, side: Side
) -> None:
    for assumed in (None, Side.SOURCE, Side.DESTINATION):
        assert classify(text, assumed, NOTHING_SECRET).side is side


def test_a_side_that_nobody_names_is_the_one_that_was_assumed() -> None:
    for assumed in (None, Side.SOURCE, Side.DESTINATION):
        assert classify("403 Forbidden", assumed, NOTHING_SECRET).side is assumed


def test_a_secret_does_not_hide_what_went_wrong() -> None:
    failure = classify(
        "401 Unauthorized: bad password `Forbidden`", None, Redactor(["Unauthorized"])
    )
    assert failure.code == "authentication_failed"
    assert "Unauthorized" not in failure.message


SECRETS = [
    "hunter22",
    "with space and + plus",
    "a/b+c==&d=e?f#g%h",
    "quotes\"and'back\\slash",
    "pässwörd-🎉",
    "<b>&amp;</b>",
    "%41%42%43%44",
    "tab\there",
    "[a-z]+(.*)$^|",
    r"\1\g<0>",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "form",
    [
        str,
        quote,
        lambda secret: quote(secret, safe=""),
        quote_plus,
        lambda secret: json.dumps(secret)[1:-1],
        lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    ],
    ids=["plain", "in a path", "in a query", "in a form", "JSON", "JSON with letters"],
)
def test_a_secret_goes_in_every_form_in_which_it_can_come_back(
    secret: str, form: Callable[[str], str]
) -> None:
    shown = form(secret)
    text = f"bad password: >{shown}<, that is >{shown}< again"

    cleaned = Redactor([secret, "another-secret"]).redact(text, "An error.")

    assert cleaned == "bad password: >[redacted]<, that is >[redacted]< again"


@pytest.mark.parametrize(
    "shown",
    ["tom\\u0026jerry-\\u003ccanary\\u003e", "tom&amp;jerry-&lt;canary&gt;"],
    # Go's encoder escapes these letters, so that its JSON may stand in a page.
    ids=["JSON as Go writes it", "HTML and XML"],
)
def test_a_secret_goes_as_a_server_may_put_it_into_its_answer(shown: str) -> None:
    cleaned = Redactor(["tom&jerry-<canary>"]).redact(f"refused: {shown}!", "An error.")
    assert cleaned == "refused: [redacted]!"


def test_a_secret_that_holds_another_goes_as_a_whole() -> None:
    cleaned = Redactor(["abcd", "abcd-and-more"]).redact("it is abcd-and-more", "An error.")
    assert cleaned == "it is [redacted]"


def test_what_is_no_secret_stays() -> None:
    text = "Failed to copy: 403 Forbidden: /Measurements/2026/é 🎉.h5 (100 %)"
    assert Redactor(["hunter22"]).redact(text, "An error.") == text


@pytest.mark.parametrize("secret", ["a", "ab", "abc", "é"])
def test_a_text_with_a_secret_too_short_to_be_told_apart_is_not_shown(secret: str) -> None:
    assert Redactor([secret]).redact(f"refused: {secret}!", "An error.") == "An error."
    assert Redactor([secret]).redact("503", "An error.") == "503"


# As ssh-keygen writes it, with a comment at its end; made for this test, and of no use.
PEM = """-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACDexamplexamplexamplexamplexamplexamplexamplexamplexQAAAJiexa
mplexamplexamplexamplexamplexamplexamplexamplexamplexamplexamplexamplexa
AAAEDexamplexamplexamplexamplexamplexamplexamplexamplexamplexAAAAC2V4YW1
wbGVAaGVyZQECAwQ=
-----END OPENSSH PRIVATE KEY-----
"""
KEY_LINES = PEM.splitlines()[1:-1]


@pytest.mark.parametrize(
    "shown",
    [
        PEM,
        PEM.strip(),
        PEM.strip().replace("\n", "\\n"),
        PEM.strip().replace("\n", " "),
        PEM.strip().replace("\n", "\r\n"),
        json.dumps(PEM),
        quote(PEM),
        KEY_LINES[2],
        quote(KEY_LINES[-1], safe=""),
    ],
    ids=[
        "whole",
        "stripped",
        "as rclone takes it",
        "on one line",
        "with other line ends",
        "JSON",
        "in a URL",
        "a line",
        "the last line",
    ],
)
@pytest.mark.parametrize(
    "given",
    [PEM, PEM.strip(), PEM.replace("\n", "\r\n"), f"\n{PEM}\n"],
    ids=["as it was made", "without its last line end", "of Windows", "with empty lines"],
)
def test_no_line_of_a_private_key_is_shown(shown: str, given: str) -> None:
    cleaned = Redactor([given]).redact(f"ssh: cannot decode {shown}: bad key", "An error.")

    assert [line for line in KEY_LINES if line in cleaned or quote(line, safe="") in cleaned] == []
    assert cleaned.startswith("ssh: cannot decode")
    assert cleaned.endswith(": bad key")


SERVICE_ACCOUNT = {
    "type": "service_account",
    "project_id": "p",
    "private_key_id": "0123456789abcdef0123456789abcdef",
    "private_key": PEM.replace("OPENSSH ", ""),
    "client_email": "copier@p.iam.gserviceaccount.example.org",
}


@pytest.mark.parametrize(
    "given", [json.dumps(SERVICE_ACCOUNT), json.dumps(SERVICE_ACCOUNT, indent=2)]
)
@pytest.mark.parametrize(
    "shown",
    [
        json.dumps(SERVICE_ACCOUNT),
        json.dumps(SERVICE_ACCOUNT, indent=2),
        json.dumps(SERVICE_ACCOUNT, indent=2).replace("\n", " "),
        json.dumps(json.dumps(SERVICE_ACCOUNT)),
        SERVICE_ACCOUNT["private_key"],
        json.dumps(SERVICE_ACCOUNT["private_key"]),
        SERVICE_ACCOUNT["private_key_id"],
        KEY_LINES[1],
    ],
    ids=[
        "whole",
        "indented",
        "as rclone takes it",
        "JSON in JSON",
        "its key",
        "its key as JSON",
        "its key's id",
        "a line of its key",
    ],
)
def test_nothing_secret_of_a_service_account_is_shown(shown: str, given: str) -> None:
    cleaned = Redactor([given]).redact(f"oauth2: cannot use {shown} here", "An error.")

    for secret in [*KEY_LINES, SERVICE_ACCOUNT["private_key_id"]]:
        assert secret not in cleaned
    assert cleaned.startswith("oauth2: cannot use")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (
            'Get "https://alice:hunter22@cloud.example.org/dav": refused',
            'Get "https://cloud.example.org/dav": refused',
        ),
        ("sftp://alice@files.example.org: refused", "sftp://files.example.org: refused"),
        (
            'Put "https://s3.example.org/b/a?X-Amz-Credential=AK&X-Amz-Signature=5ec2e7": EOF',
            'Put "https://s3.example.org/b/a?[redacted]": EOF',
        ),
        (
            "got https://blob.example.org/c?sv=1&sig=5ec2e7, and gave up",
            "got https://blob.example.org/c?[redacted] and gave up",
        ),
        (
            "sent Authorization: Bearer eyJh.bGci-Oi_J: 401",
            "sent Authorization: Bearer [redacted]: 401",
        ),
        (
            "sent authorization: basic YWxpY2U6eA==: 401",
            "sent authorization: basic [redacted]: 401",
        ),
        ("alice@example.org may not: 403", "alice@example.org may not: 403"),
        ("is it there? No: 404", "is it there? No: 404"),
    ],
)
def test_credentials_that_nobody_gave_us_go_too(text: str, cleaned: str) -> None:
    assert NOTHING_SECRET.redact(text, "An error.") == cleaned


def test_a_text_cannot_write_lines_of_its_own_into_a_log_or_move_a_cursor() -> None:
    controls = "".join(map(chr, [*range(32), 127]))
    cleaned = NOTHING_SECRET.redact(f"one{controls}two\r\nthree\x1b[2Jfour\n", "An error.")
    assert cleaned == "one two three [2Jfour"


def test_a_long_text_is_cut_and_shows_that_it_was() -> None:
    assert NOTHING_SECRET.redact("x" * 500, "An error.") == "x" * 500
    cleaned = NOTHING_SECRET.redact("x" * 501, "An error.")
    assert cleaned == "x" * 499 + "…"


def test_a_secret_across_the_cut_leaves_no_half_of_itself() -> None:
    secret = "canary-" + "5" * 40
    cleaned = Redactor([secret]).redact("x" * 480 + secret + "y" * 100, "An error.")
    assert "canary" not in cleaned
    assert re.search("5{4}", cleaned) is None


@pytest.mark.parametrize("text", ["", "   ", "\n", "\x00\x1f"])
def test_a_text_that_says_nothing_is_replaced_by_one_that_does(text: str) -> None:
    assert NOTHING_SECRET.redact(text, "An error.") == "An error."


@pytest.mark.parametrize(
    "text",
    [
        'Put "http://storage.example.org/dav/503/x": dial tcp 10.0.0.1:80: connection refused',
        "dial tcp 10.0.0.1:507: connect: connection refused",
        "dial tcp [2001:db8::1]:401: connect: connection refused",
        'Propfind "https://storage.example.org:423/403/": dial tcp: connection refused',
    ],
)
def test_a_number_in_an_address_is_no_status(text: str) -> None:
    assert classify(text, None, Redactor([])).code == "storage_unreachable"
