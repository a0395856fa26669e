"""Stable error codes for the reasons that FTS gives for a file.

A reason begins with the side where it happened and the number of an error of the operating system,
such as `SOURCE [2] No such file or directory`. Each rule has examples, which a test checks. A
reason that fits no rule is a `storage_error`, and another attempt may help: no code is guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from efss_transfer.model.errors import CODES
from efss_transfer.model.result import Failure, Side

if TYPE_CHECKING:
    from efss_transfer.engines.redaction import Redactor

_FORM: Final = re.compile(r"\s*(SOURCE|DESTINATION|TRANSFER|[A-Z_]+) \[(\d+)\]")
_SIDES: Final = {"SOURCE": Side.SOURCE, "DESTINATION": Side.DESTINATION}
# The status that a storage answered, in the words of gfal2, XRootD and dCache.
_STATUS: Final = re.compile(
    r"(?:status code|\bHTTP(?:/\d(?:\.\d)?)?|rejected (?:GET|PUT|HEAD)\S*:?)[: ]+([1-5]\d\d)\b"
)
_OF_STATUS: Final = {
    401: "authentication_failed",
    403: "permission_denied",
    404: "source_not_found",
    423: "storage_busy",
    429: "storage_busy",
    503: "storage_busy",
    507: "quota_exceeded",
}
_NO_REASON: Final = "FTS gave no reason."


@dataclass(frozen=True)
class FtsRule:
    """A code, the numbers or the words that mean it, and examples. Words come before numbers."""

    code: str
    words: str
    numbers: tuple[int, ...]
    examples: tuple[str, ...]


RULES: Final = (
    FtsRule(
        "checksum_mismatch",
        r"(?i)checksum mismatch|checksums? (?:do(?:es)? not match|differ)",
        (),
        (
            "TRANSFER [5] SOURCE CHECKSUM MISMATCH",
            "DESTINATION [5] User defined checksum and destination checksum do not match",
        ),
    ),
    FtsRule(
        "quota_exceeded",
        r"(?i)no space left|quota exceeded|insufficient (?:space|storage)",
        (28, 122),
        (
            "DESTINATION [28] No space left on device",
            "TRANSFER [70] rejected PUT: 507 Insufficient",
        ),
    ),
    FtsRule(
        "authentication_failed",
        r"(?i)unauthorized|authentication (?:error|failed)|token (?:is |has )?expired",
        (),
        ("SOURCE [13] Result HTTP 401 : Authentication Error after 1 attempts",),
    ),
    FtsRule(
        "permission_denied",
        r"(?i)permission denied|forbidden",
        (1, 13),
        (
            "DESTINATION [13] Permission denied",
            "TRANSFER [70] TRANSFER ERROR: Copy failed (3rd pull). rejected GET: 403 Forbidden",
        ),
    ),
    FtsRule(
        "source_not_found",
        r"(?i)no such file|file not found",
        (2,),
        ("SOURCE [2] No such file or directory",),
    ),
    FtsRule("not_a_directory", r"", (20, 21), ("DESTINATION [20] Not a directory",)),
    FtsRule("name_refused", r"", (36,), ("DESTINATION [36] File name too long",)),
    FtsRule(
        "storage_busy",
        r"(?i)temporarily unavailable",
        (11, 16),
        ("DESTINATION [16] Device or resource busy",),
    ),
    FtsRule(
        "storage_unreachable",
        r"(?i)timed? ?out|timeout|connection (?:refused|reset)|could not (?:connect|resolve)",
        (110, 111, 112, 113),
        ("TRANSFER [110] Transfer canceled because the timeout was exceeded",),
    ),
)
"""The status of an answer decides, then the first rule whose words are found, then its number."""

_EXISTS: Final = re.compile(r"(?i)\[17\]|overwrite is not enabled|file exists")
_NO_CHECKSUM: Final = re.compile(
    r"(?i)checksum[^.]*(?:not supported|unsupported|not available|not implemented|empty)"
    r"|(?:no|unsupported) checksum"
)


def of_reason(reason: str, redactor: Redactor) -> Failure:
    """The failure that FTS gave for a file."""
    shown = redactor.redact(reason, _NO_REASON)
    found = _FORM.match(reason)
    side = _SIDES.get(found[1]) if found is not None else None
    code, is_known = _decided(reason, None if found is None else int(found[2]))
    if code == "source_not_found" and side is Side.DESTINATION:
        code, is_known = "storage_error", False
    elif code == "quota_exceeded":
        side = Side.DESTINATION
    return Failure(code, shown, CODES[code].retryable if is_known else True, side)


def says_exists(reason: str) -> bool:
    """Whether FTS did not copy a file because there is one, which it may not replace."""
    return _EXISTS.search(reason) is not None


def lacks_checksum(reason: str) -> bool:
    """Whether a file failed because a storage does not tell the checksum that FTS wants."""
    return _NO_CHECKSUM.search(reason) is not None


def _decided(reason: str, number: int | None) -> tuple[str, bool]:
    words = _FORM.sub("", reason, count=1)
    if (status := _STATUS.search(words)) is not None and int(status[1]) in _OF_STATUS:
        return _OF_STATUS[int(status[1])], True
    for rule in RULES:
        if rule.words and re.search(rule.words, words):
            return rule.code, True
    for rule in RULES:
        if number in rule.numbers:
            return rule.code, True
    return "storage_error", False
