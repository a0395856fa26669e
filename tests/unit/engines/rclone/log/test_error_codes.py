"""Error codes for the messages of rclone and its storages."""

from __future__ import annotations

import pytest

from efss_transfer.engines.rclone.log.error_codes import Rule, classify, rules
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.errors import CODES
from efss_transfer.model.result import Side

NO_SECRETS = Redactor(())


EXAMPLES = [(rule, example) for rule in rules() for example in rule.examples]


@pytest.mark.parametrize(("rule", "example"), EXAMPLES, ids=[text[:60] for _, text in EXAMPLES])
def test_example_of_a_rule_matches_that_rule_first(rule: Rule, example: str) -> None:
    failure = classify(example, None, NO_SECRETS)

    assert failure.code == rule.code
    expected = CODES[rule.code].retryable if rule.retryable is None else rule.retryable
    assert failure.retryable is expected
    assert next(other for other in rules() if other.matches(example)) is rule


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.expression.pattern[:60])
def test_rule_has_a_known_code_an_example_and_a_reason_for_its_override(rule: Rule) -> None:
    assert rule.code in CODES
    assert rule.examples
    if rule.retryable is not None:
        assert rule.retryable is not CODES[rule.code].retryable, (
            "the override equals the code's own value"
        )
        assert rule.why


# Answers of real servers; "…" marks omitted text.
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
def test_answers_of_real_servers_have_the_right_code(text: str, code: str, retryable: bool) -> None:
    failure = classify(text, Side.SOURCE, NO_SECRETS)
    assert (failure.code, failure.retryable) == (code, retryable)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the flux capacitor is out of plutonium",
        "500 Internal Server Error",
        "unexpected status 418 I'm a teapot",
        "xml: syntax error on line 3",
        # Digits within a longer number are not a status.
        "read 14031 of 50300 bytes",
        "short read of 4010 bytes",
        "short write: 507 of 9000 bytes",
        "got 503 bytes and 429 more",
        "line 403, column 401",
        "<html><body>503 Service Unavailable: 423</body></html>: 418 I'm a teapot",
    ],
)
def test_unknown_text_is_a_storage_error(text: str) -> None:
    failure = classify(text, None, NO_SECRETS)
    assert (failure.code, failure.retryable, failure.side) == ("storage_error", False, None)
    assert failure.message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("read 1530 bytes: unexpected EOF", "storage_unreachable"),
        ("short write: 4530 of 9000 bytes", "storage_error"),
    ],
)
def test_count_of_bytes_is_not_a_refused_login(text: str, code: str) -> None:
    assert classify(text, None, NO_SECRETS).code == code


@pytest.mark.parametrize("text", ["530 Login incorrect.", "ftp: couldn't connect: 530 Denied"])
def test_login_refused_by_ftp_is_recognised(text: str) -> None:
    assert classify(text, None, NO_SECRETS).code == "authentication_failed"


@pytest.mark.parametrize(
    "text",
    [
        "directory not found",
        "object not found",
        "NoSuchBucket: The specified bucket does not exist",
        r"couldn't list files: Sabre\DAV\Exception\NotFound: : ServiceUnavailable: 503",
    ],
)
def test_path_missing_at_the_destination_is_not_a_missing_source(text: str) -> None:
    assert classify(text, Side.SOURCE, NO_SECRETS).code == "source_not_found"
    assert classify(text, None, NO_SECRETS).code == "source_not_found"

    failure = classify(text, Side.DESTINATION, NO_SECRETS)
    assert (failure.code, failure.side, failure.retryable) == (
        "storage_error",
        Side.DESTINATION,
        False,
    )


def test_full_source_is_not_a_full_destination() -> None:
    text = "failed to open source object: 507 Insufficient Storage"
    failure = classify(text, None, NO_SECRETS)
    assert (failure.code, failure.side, failure.retryable) == ("storage_error", Side.SOURCE, False)


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
def test_status_is_recognised_in_every_form_of_rclone(text: str) -> None:
    assert classify(text, None, NO_SECRETS).code == "authentication_failed"


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
def test_side_named_by_the_text_replaces_the_given_side(text: str, side: Side) -> None:
    for given in (None, Side.SOURCE, Side.DESTINATION):
        assert classify(text, given, NO_SECRETS).side is side


def test_given_side_is_kept_if_the_text_names_none() -> None:
    for given in (None, Side.SOURCE, Side.DESTINATION):
        assert classify("403 Forbidden", given, NO_SECRETS).side is given


def test_redacted_secret_does_not_change_the_code() -> None:
    failure = classify(
        "401 Unauthorized: bad password `Forbidden`", None, Redactor(["Unauthorized"])
    )
    assert failure.code == "authentication_failed"
    assert "Unauthorized" not in failure.message


@pytest.mark.parametrize(
    "text",
    [
        'Put "http://storage.example.org/dav/503/x": dial tcp 10.0.0.1:80: connection refused',
        "dial tcp 10.0.0.1:507: connect: connection refused",
        "dial tcp [2001:db8::1]:401: connect: connection refused",
        'Propfind "https://storage.example.org:423/403/": dial tcp: connection refused',
    ],
)
def test_number_in_an_address_is_not_a_status(text: str) -> None:
    assert classify(text, None, Redactor([])).code == "storage_unreachable"
