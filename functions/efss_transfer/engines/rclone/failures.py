"""From what rclone and the servers say to stable codes; and the cleaning of their texts.

The texts were measured (efss-facts.md, rclone-facts.md) or seen in this project's own
integration tests. A text that no rule knows is `storage_error`: it is never guessed.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, quote_plus

from efss_transfer.errors import CODES
from efss_transfer.result import Failure, Side

NOT_FOUND: Final = "source_not_found"
IS_A_FILE: Final = "is a file not a directory"
IS_A_DIRECTORY: Final = "is a directory not a file"
OBJECT_NOT_FOUND: Final = "object not found"
NO_FOLDER: Final = "directory not found"
TIME_IS_UP: Final = "max transfer duration reached"


@dataclass(frozen=True)
class Rule:
    """A text that means a code. `example` is a real one, and a test holds the rule to it.

    `retryable` overrides the code's own, where the cause is known to be permanent.
    """

    code: str
    pattern: str
    example: str
    retryable: bool | None = None

    def matches(self, text: str) -> bool:
        """Whether this rule knows the text."""
        return re.search(self.pattern, text) is not None


# The first that matches decides, so a special case stands before the general one.
RULES: Final = (
    # What the guard answers (SOCKS 5, RFC 1928), in the words of rclone's HTTP client.
    Rule(
        "forbidden",
        r"connection not allowed by ruleset",
        "socks connect tcp 127.0.0.1:1080->inside.example.org:80: unknown error connection not "
        "allowed by ruleset",
    ),
    Rule(
        "storage_unreachable",
        r"unknown error host unreachable|socks connect.*host unreachable",
        "socks connect tcp 127.0.0.1:1080->host.invalid:80: unknown error host unreachable",
        retryable=False,
    ),
    Rule(
        "storage_unreachable",
        r"unknown error (network unreachable|TTL expired|general SOCKS server failure)"
        r"|socks connect",
        "socks connect tcp 127.0.0.1:1080->host.example.org:80: unknown error TTL expired",
    ),
    Rule(
        "authentication_failed",
        r"DisabledUserException|Account disabled",
        r"OC\User\DisabledUserException: Account disabled: ServiceUnavailable: 503",
    ),
    Rule(
        NOT_FOUND,
        r"Exception\\NotFound: : .*503",
        r"couldn't list files: Sabre\DAV\Exception\NotFound: : ServiceUnavailable: 503",
    ),
    Rule(
        "checksum_mismatch", r"corrupted on transfer", "corrupted on transfer: sizes differ 5 vs 4"
    ),
    Rule(
        "checksum_mismatch",
        r"source file is being updated",
        "can't copy - source file is being updated (size changed from 5 to 6)",
    ),
    Rule(
        "quota_exceeded",
        r"\b507\b|Insufficient ?Storage",
        "Insufficient space: InsufficientStorage: 507",
    ),
    Rule(
        "quota_exceeded", r"No space left on device|QuotaExceeded", "sftp: No space left on device"
    ),
    Rule("quota_exceeded", r"^(.*: )?552 ", "update stor: 552 Exceeded storage allocation"),
    Rule("storage_busy", r"\b423\b|FileLocked", '"/lk/a.txt" is locked: FileLocked: 423 Locked'),
    Rule(
        "storage_busy",
        r"\b429\b|TooManyRequests|SlowDown",
        "TooManyRequests: 429 Too Many Requests",
    ),
    Rule(
        "storage_busy",
        r"\b503\b|ServerMaintenanceMode",
        "ServerMaintenanceMode: 503 Service Unavailable",
    ),
    Rule("storage_busy", r"^(.*: )?421 ", "update stor: 421 Too many connections from your IP"),
    Rule(
        "name_refused",
        r"Duplicate object found|Entry doesn't belong in directory",
        "Duplicate object found in source - ignoring",
    ),
    Rule(
        "name_refused",
        r"InvalidPath: 400|Filename is (too long|a reserved word)|forbidden file type"
        r"|File name too long",
        "Filename is too long: InvalidPath: 400 Bad Request",
    ),
    Rule(
        "authentication_failed",
        r"\b401\b|NotAuthenticated|InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|ExpiredToken",
        "read metadata failed: 401 Unauthorized: 401 Unauthorized",
    ),
    Rule(
        "authentication_failed",
        r"ssh: unable to authenticate|(?<!\d)530 |no supported methods remain|invalid_grant"
        r"|AuthenticationFailed",
        "couldn't connect SSH: ssh: handshake failed: ssh: unable to authenticate, "
        "attempted methods [none password]",
    ),
    Rule(
        "authentication_failed",
        r"parse private key|private key should be|processing credentials",
        "failed to parse private key file: ssh: no key found",
    ),
    # Before the rule for 403: a HEAD of S3 has no body, so 403 is all that it says.
    Rule(
        "unsupported",
        r"Only PUT is allowed on files drop",
        "Only PUT is allowed on files drop: MethodNotAllowed: 405",
    ),
    Rule(
        "permission_denied",
        r"\b403\b|AccessDenied|Forbidden|[Pp]ermission denied|not permitted"
        r"|550 Not enough privileges",
        r"Sabre\DAV\Exception\Forbidden: 403 Forbidden",
    ),
    Rule(
        "not_a_directory",
        rf"{IS_A_FILE}|{IS_A_DIRECTORY}|Parent node is not a collection|[Nn]ot a directory",
        "Update mkParentDir failed: Parent node is not a collection: Conflict: 409",
    ),
    Rule(
        NOT_FOUND,
        rf"directory not found|{OBJECT_NOT_FOUND}|NoSuchBucket|NoSuchKey|\b404\b",
        "error reading source root directory: directory not found",
    ),
    Rule("unsupported", r"\b405\b|MethodNotAllowed|\b501\b", "405 Method Not Allowed"),
    Rule(
        "unsupported",
        r"the remote url looks incorrect",
        "the remote url looks incorrect. Note that …",
    ),
    Rule(
        "storage_unreachable",
        r"no such host|x509: |tls: |certificate|server gave HTTP response to HTTPS client",
        "dial tcp: lookup nowhere.invalid: no such host",
        retryable=False,
    ),
    Rule(
        "storage_unreachable",
        r"connection refused|i/o timeout|network is unreachable|no route to host|connection reset"
        r"|broken pipe|timeout awaiting|Client\.Timeout|deadline exceeded|\bEOF\b|handshake timeout"
        r"|use of closed network connection|server closed|connection lost",
        "dial tcp 127.0.0.1:8803: connect: connection refused",
    ),
    Rule("cancelled", r"context canceled", "context canceled"),
)

_SOURCE_TEXTS: Final = re.compile(
    r"error reading source|failed to open source object|source file is being updated"
)
_DESTINATION_TEXTS: Final = re.compile(
    r"error reading destination|mkParentDir|chunked upload|uploading chunk|prepare upload"
)


def side_of(text: str) -> Side | None:
    """The side that the text itself names, if it names one."""
    if _SOURCE_TEXTS.search(text):
        return Side.SOURCE
    if _DESTINATION_TEXTS.search(text):
        return Side.DESTINATION
    return None


def classify(text: str, side: Side | None, cleaner: Cleaner) -> Failure:
    """What a text of rclone's means, on a side that is known, or named by the text.

    A thing that is missing at the destination is no missing source: that is a failure
    of the storage, which has just been written to.
    """
    side = side_of(text) or side
    # A port or a file's name may be a number that means something as a status.
    spoken = _PORT.sub(r"\1", _PLACE.sub("", text))
    for rule in RULES:
        if rule.matches(spoken):
            code, retryable = rule.code, rule.retryable
            break
    else:
        code, retryable = "storage_error", None
    if code == NOT_FOUND and side is Side.DESTINATION:
        code = "storage_error"
    if retryable is None:
        retryable = CODES[code].retryable
    shown = _BY_THE_GUARD.sub(r"\1", text)
    return Failure(code, cleaner.clean(shown, CODES[code].title), retryable, side)


_PLACE: Final = re.compile(r'"[^"]*/[^"]*"|https?://\S+')
_PORT: Final = re.compile(r"([\w.\]-]):\d+\b")
# The guard is a matter of the service's own: what it said of a host is what is told.
_BY_THE_GUARD: Final = re.compile(r"socks connect tcp \S+?->(\S+: )unknown error ")
_URL_USERINFO: Final = re.compile(r"(?<=://)[^/\s@\"']+@")
_URL_QUERY: Final = re.compile(r"(https?://[^\s\"'?]*)\?[^\s\"']*")
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]+")
_LONGEST_MESSAGE: Final = 500
_SHORTEST_TO_REPLACE: Final = 4
_SHORTEST_PART: Final = 8


class Cleaner:
    """Takes everything secret out of a text before anybody sees it.

    A server may put what it was sent into its answer, and rclone puts that answer into
    its own text, so every form in which a secret can come back is looked for.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        # The longest first: a secret that holds another must go as a whole.
        self._long = sorted(
            (f for f in forms if len(f) >= _SHORTEST_TO_REPLACE), key=len, reverse=True
        )
        self._short = [f for f in forms if 0 < len(f) < _SHORTEST_TO_REPLACE]

    def clean(self, text: str, otherwise: str) -> str:
        """The text without secrets, URL queries and control characters, cut to 500
        characters; or `otherwise`, if a secret is too short to be told from the rest.
        """
        for secret in self._long:
            text = text.replace(secret, "[redacted]")
        if any(secret in text for secret in self._short):
            return otherwise
        text = _URL_USERINFO.sub("", text)
        text = _URL_QUERY.sub(r"\1?[redacted]", text)
        text = _BEARER.sub(r"\1 [redacted]", text)
        text = _CONTROL.sub(" ", text).strip()
        if len(text) > _LONGEST_MESSAGE:
            text = text[: _LONGEST_MESSAGE - 1] + "…"
        return text or otherwise


def _forms(secret: str) -> Iterable[str]:
    """A secret, its parts that are secrets themselves, and each as it may be quoted."""
    for part in {secret, *_parts(secret)}:
        yield part
        yield quote(part)
        yield quote(part, safe="")
        yield quote_plus(part)
        yield json.dumps(part)[1:-1]
        in_json = json.dumps(part, ensure_ascii=False)[1:-1]
        yield in_json
        # Go writes JSON that may stand in a page, and a page has escapes of its own.
        yield in_json.translate({ord(sign): f"\\u{ord(sign):04x}" for sign in "&<>"})
        yield html.escape(part, quote=False)
        escaped = html.escape(part)
        yield escaped
        yield escaped.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
        yield escaped.replace("&#x27;", "&#039;")


def _parts(secret: str) -> Iterable[str]:
    """The lines of a PEM key, and the texts in a JSON credential."""
    lines = re.split(r"\r?\n|(?:\\r)?\\n", secret)
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= _SHORTEST_PART)
    try:
        members = json.loads(secret)
    except ValueError:
        return
    if isinstance(members, dict):
        for value in members.values():
            # The addresses in a service account are not secret, and worth reading.
            if isinstance(value, str) and not value.startswith("https://"):
                yield from (
                    part for part in (value, *value.splitlines()) if len(part) >= _SHORTEST_PART
                )
