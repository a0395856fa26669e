"""Error codes for the answers of WebDAV servers, as the gateway records them."""

from __future__ import annotations

from html import escape

import pytest

from efss_transfer.engines.redaction import Redactor
from efss_transfer.engines.server_codes import CASES, failure_of
from efss_transfer.model.errors import CODES
from efss_transfer.model.result import Side
from efss_transfer.served.answers import DIFFERS
from efss_transfer.webdav import words
from efss_transfer.webdav.words import RequestFailure, Words
from efss_transfer.webdav.writes import refusals
from support.nextcloud import errors
from support.nextcloud.errors import DavError

NO_SECRETS = Redactor(())
SOURCE, DESTINATION = Side.SOURCE, Side.DESTINATION


def refused(error: DavError, method: str = "PUT", **headers: str) -> RequestFailure:
    """A request that Nextcloud refused, read as the gateway reads it."""
    return RequestFailure(method, "f", words.read(error.status, headers, error.body()))


def plain(status: int, method: str = "PUT", *conditions: str) -> RequestFailure:
    """A request that a server refused without a word."""
    return RequestFailure(method, "f", Words(status, conditions=conditions))


OF_NEXTCLOUD = [
    (errors.insufficient_storage("/f", 8, 5), "PUT", "quota_exceeded", False),
    (errors.locked("/f"), "PUT", "storage_busy", True),
    (errors.locked("/folder", folder=True), "MOVE", "storage_busy", True),
    (errors.too_many_requests(), "PROPFIND", "storage_busy", True),
    (errors.maintenance(), "PROPFIND", "storage_busy", True),
    (errors.unavailable("later"), "GET", "storage_busy", True),
    (errors.invalid_path("Filename is a reserved word"), "PUT", "name_refused", False),
    (errors.not_authenticated("No."), "PUT", "authentication_failed", False),
    (errors.forbidden(), "PUT", "permission_denied", True),
    (errors.forbidden(), "MKCOL", "permission_denied", False),
    (errors.forbidden("You may not."), "PUT", "permission_denied", False),
    (errors.forbidden("Only PUT is allowed on files drop"), "PUT", "unsupported", False),
    (errors.conflict("Parent node is not a collection"), "PUT", "not_a_directory", False),
    (errors.conflict("Something else"), "PUT", "storage_error", False),
    (errors.precondition("If-Match", "changed"), "PUT", "storage_busy", True),
    (errors.not_allowed("No."), "MKCOL", "unsupported", False),
    (errors.unsupported_media("No."), "MKCOL", "unsupported", False),
    (errors.not_implemented("LOCK"), "LOCK", "unsupported", False),
    (errors.invalid_mtime("-1"), "PUT", "storage_error", False),
    (
        errors.bad_request("The computed checksum does not match the one received."),
        "PUT",
        "checksum_mismatch",
        True,
    ),
    (errors.bad_request("Expected filesize of 8 bytes"), "PUT", "checksum_mismatch", True),
    (errors.bad_request("Something else"), "PUT", "storage_error", False),
    # OpenCloud's.
    (
        errors.bad_request("name validation failed: must not contain \\"),
        "PUT",
        "name_refused",
        False,
    ),
    (
        errors.unavailable("OC\\User\\DisabledUserException: Account disabled"),
        "PROPFIND",
        "authentication_failed",
        False,
    ),
    (
        DavError(500, "OC\\DB\\Exceptions\\DbalException", "SQLSTATE[40001]: Deadlock found"),
        "PUT",
        "storage_busy",
        True,
    ),
]


@pytest.mark.parametrize(
    ("error", "method", "code", "retryable"),
    OF_NEXTCLOUD,
    ids=[f"{error.status}-{method}-{error.message[:24]}" for error, method, *_ in OF_NEXTCLOUD],
)
def test_refusal_of_nextcloud_has_its_code_and_its_words(
    error: DavError, method: str, code: str, retryable: bool
) -> None:
    failure = failure_of(refused(error, method), DESTINATION, NO_SECRETS)
    assert (failure.code, failure.retryable, failure.side) == (code, retryable, DESTINATION)
    assert error.message in failure.message
    assert error.exception in failure.message
    assert str(error.status) in failure.message


OF_OTHERS = [
    (plain(401), "authentication_failed", False),
    (plain(403), "permission_denied", False),
    (plain(451), "permission_denied", False),
    (plain(400), "storage_error", False),
    (plain(405), "unsupported", False),
    (plain(408), "storage_unreachable", True),
    (plain(409), "storage_error", False),
    (plain(412), "storage_busy", True),
    (plain(413), "unsupported", False),
    (plain(414), "name_refused", False),
    (plain(423, "PUT", "lock-token-submitted"), "storage_busy", True),
    (plain(425, "GET"), "storage_busy", True),
    (plain(429), "storage_busy", True),
    (plain(500), "storage_error", False),
    (plain(502), "storage_unreachable", True),
    (plain(503), "storage_busy", True),
    (plain(504), "storage_unreachable", True),
    (plain(507), "quota_exceeded", False),
    (plain(509), "storage_busy", True),
    (plain(403, "PUT", "quota-not-exceeded"), "quota_exceeded", False),
    (plain(409, "PUT", "sufficient-disk-space"), "quota_exceeded", False),
    (plain(522), "storage_unreachable", True),
    (
        RequestFailure(
            "MKCOL", "f", Words(405, "", "The server makes no folder of this name."), status=400
        ),
        "name_refused",
        False,
    ),
]


@pytest.mark.parametrize(
    ("failed", "code", "retryable"),
    OF_OTHERS,
    ids=[f"{failed.words.status}{failed.words.conditions[:1]}" for failed, *_ in OF_OTHERS],
)
def test_status_alone_has_its_code(failed: RequestFailure, code: str, retryable: bool) -> None:
    failure = failure_of(failed, DESTINATION, NO_SECRETS)
    assert (failure.code, failure.retryable) == (code, retryable)
    assert str(failed.words.status) in failure.message


OF_SYSTEMS = [
    ("[Errno 28] No space left on device: '/srv/f'", "quota_exceeded"),
    ("[Errno 36] File name too long: '/srv/f'", "name_refused"),
    ("[Errno 20] Not a directory: '/srv/f/g'", "not_a_directory"),
    ("[Errno 13] Permission denied: '/srv/f'", "permission_denied"),
]


def of_system(text: str) -> RequestFailure:
    page = f"<html><head><title>500 Error</title></head><body><p>{escape(text)}</p></body></html>"
    return RequestFailure("PUT", "f", words.read(500, {}, page.encode()))


@pytest.mark.parametrize(("text", "code"), OF_SYSTEMS, ids=[code for _, code in OF_SYSTEMS])
def test_words_of_an_operating_system_count_where_the_status_says_nothing(
    text: str, code: str
) -> None:
    failure = failure_of(of_system(text), DESTINATION, NO_SECRETS)
    assert (failure.code, failure.retryable) == (code, False)
    assert failure.message == f"{text}: 500 Internal Server Error"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (
            b"<!doctype html><style>p {}</style><p>Try &amp;\n later<script>x()</script>",
            "Try & later",
        ),
        (b"no markup at all", "no markup at all"),
        (b"<!-- <p>hidden --> \xff seen <b", "\ufffd seen <b"),
        (b"", ""),
        (b"x" * 100_000, "x" * 300),
    ],
)
def test_text_of_a_page_is_the_message(page: bytes, text: str) -> None:
    assert words.read(502, {}, page) == Words(502, "", text)


@pytest.mark.parametrize(
    ("cause", "code", "retryable"),
    [
        ("denied", "forbidden", False),
        ("unresolved", "storage_unreachable", False),
        ("refused", "storage_unreachable", True),
        ("timeout", "storage_unreachable", True),
        ("tls", "storage_unreachable", False),
        ("proxy", "storage_unreachable", True),
        ("broken", "storage_unreachable", True),
        ("protocol", "storage_unreachable", False),
    ],
)
def test_missing_answer_has_the_code_of_its_cause(cause: str, code: str, retryable: bool) -> None:
    failed = RequestFailure("GET", "f", Words(None, "", "dav.example.org:443: why"), cause)
    failure = failure_of(failed, SOURCE, NO_SECRETS)
    assert (failure.code, failure.retryable, failure.side) == (code, retryable, SOURCE)
    assert failure.message == "dav.example.org:443: why"


def test_what_is_missing_or_full_depends_on_the_side() -> None:
    missing, full = refused(errors.not_found("/f"), "GET"), plain(507)
    assert failure_of(missing, SOURCE, NO_SECRETS).code == "source_not_found"
    at_destination = failure_of(missing, DESTINATION, NO_SECRETS)
    # The next attempt makes the folder that was deleted.
    assert (at_destination.code, at_destination.retryable) == ("storage_error", True)
    assert failure_of(full, SOURCE, NO_SECRETS).code == "storage_error"
    gone = errors.unavailable("Sabre\\DAV\\Exception\\NotFound: ")
    for status in (None, 404):
        failed = RequestFailure("PROPFIND", "", refused(gone).words, status=status)
        failure = failure_of(failed, SOURCE, NO_SECRETS)
        assert (failure.code, failure.retryable) == ("source_not_found", False)


@pytest.mark.parametrize(
    ("status", "given", "method", "code", "retryable"),
    [
        (501, 200, "PROPFIND", "unsupported", False),  # a login page
        (502, 207, "PROPFIND", "storage_unreachable", True),  # a listing that ends early
        (409, 200, "GET", "checksum_mismatch", True),
    ],
)
def test_gateways_own_judgement_of_an_answer_counts(
    status: int, given: int, method: str, code: str, retryable: bool
) -> None:
    text = "Listed as empty, but has content (5 B): copy it again."
    failed = RequestFailure(method, "f", Words(given, "", text), status=status)
    failure = failure_of(failed, SOURCE, NO_SECRETS)
    assert (failure.code, failure.retryable, failure.message) == (code, retryable, text)


def test_wait_that_the_server_asks_for_is_in_the_text() -> None:
    failure = failure_of(
        refused(errors.maintenance(), **{"retry-after": "120"}), SOURCE, NO_SECRETS
    )
    assert failure.message == (
        "System is in maintenance mode.: OCA\\DAV\\Exception\\ServerMaintenanceMode: "
        "503 Service Unavailable: retry after 120 s"
    )


def test_secret_that_a_server_repeats_is_removed() -> None:
    failed = refused(errors.forbidden("No entry with canary-of-the-server."))
    failure = failure_of(failed, SOURCE, Redactor(["canary-of-the-server"]))
    assert failure.message.startswith("No entry with [redacted].: Sabre")


def test_name_of_another_file_is_refused_with_the_name_of_that_file() -> None:
    failed = RequestFailure("PUT", "to/readme", refusals.name_taken("to/README"), status=400)
    failure = failure_of(failed, Side.DESTINATION, NO_SECRETS)
    assert (failure.code, failure.retryable) == ("name_refused", False)
    assert "/to/README" in failure.message


def test_each_case_is_met_and_says_why_it_differs_from_its_code() -> None:
    met = set()
    moved = RequestFailure(
        "PROPFIND", "", Words(404, "", "Sabre\\DAV\\Exception\\NotFound: "), status=404
    )
    empty = RequestFailure("GET", "f", Words(200, "", "Listed as empty, but"), status=409)
    differs = RequestFailure(
        "GET", "f", Words(None, "", f"{DIFFERS}2 B in place of 1 B."), status=409
    )
    examples = [
        *(refused(error, method) for error, method, *_ in OF_NEXTCLOUD),
        *(failed for failed, *_ in OF_OTHERS),
        refused(errors.not_found("/f")),
        refused(errors.unavailable("Sabre\\DAV\\Exception\\NotFound: ")),
        refused(errors.bad_request("File name too long")),
        RequestFailure("GET", "f", Words(500, errors.SABRE + "NotAuthenticated")),
        RequestFailure("PUT", "f", Words(500, errors.SABRE + "InsufficientStorage")),
        *(of_system(text) for text, _ in OF_SYSTEMS),
        RequestFailure("PUT", "readme", refusals.name_taken("README"), status=400),
        moved,
        empty,
        differs,
        RequestFailure("PUT", "f", Words(307, "", "The server redirects this request to x, and")),
    ]
    for failed in examples:
        met.update(
            [one for one in CASES if one.fits(failed, failed.status or failed.words.status)][:1]
        )
    assert [case for case in CASES if case not in met] == []
    for case in CASES:
        assert case.code in CODES
        if case.retryable not in (None, CODES[case.code].retryable):
            assert case.why
