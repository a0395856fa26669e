"""Stable error codes for the messages of rclone and the storages: the table is failures.json.

Each rule of the table has examples: texts that were measured, seen in this project's tests, or
taken from rclone's source. A test checks each rule against its examples. A text that matches no
rule is a `storage_error`: no code is guessed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Final

from efss_transfer.engines.redaction import Redactor
from efss_transfer.engines.server_codes import QUOTA_EXCEEDED, SOURCE_NOT_FOUND
from efss_transfer.model.errors import CODES
from efss_transfer.model.result import Failure, Side

# Messages of rclone.
IS_A_FILE: Final = "is a file not a directory"
IS_A_DIRECTORY: Final = "is a directory not a file"
OBJECT_NOT_FOUND: Final = "object not found"
DIRECTORY_NOT_FOUND: Final = "directory not found"
MAX_DURATION_REACHED: Final = "max transfer duration reached"
CANCELLED: Final = "context canceled"
FAILED_TO_COPY: Final = "Failed to copy: "

# The text before and after a status, as rclone and its libraries write it. A number elsewhere is
# a count of bytes, a line, or part of a name.
_KEYWORD: Final = r"(?i:status(?: ?code)?|code|error|response|http(?:/\d(?:\.\d)?)?|got)[: ]{1,2}"
_BEFORE_STATUS: Final = rf"(?:^|: |\(|\b{_KEYWORD})"
_AFTER_STATUS: Final = r"(?=$|[:,).;]| (?!bytes\b|of\b|to\b|required\b))"
_STATUSES_WITH_PHRASE: Final = frozenset(HTTPStatus)


@dataclass(frozen=True)
class Rule:
    """A code, and the texts that mean it: those with one of the statuses, or the pattern.

    `retryable` overrides the code's own value if the cause is known to be temporary or
    permanent; `why` says how that is known.
    """

    code: str
    examples: tuple[str, ...]
    expression: re.Pattern[str]
    retryable: bool | None = None
    why: str = ""

    def matches(self, text: str) -> bool:
        """Whether the text means this rule's code."""
        return self.expression.search(text) is not None


@cache
def rules() -> tuple[Rule, ...]:
    """All rules. The first that matches decides, so special cases come before general ones.

    Compiled at the first failure, so that the start is not delayed.
    """
    text = (files("efss_transfer.engines.rclone.log") / "failures.json").read_text("utf-8")
    return tuple(
        Rule(
            code=entry["code"],
            examples=tuple(entry["examples"]),
            expression=_expression(entry.get("status", ()), entry.get("pattern")),
            retryable=entry.get("retryable"),
            why=entry.get("why", ""),
        )
        for entry in json.loads(text)["rules"]
    )


def _expression(statuses: list[int], pattern: str | None) -> re.Pattern[str]:
    alternatives = [] if pattern is None else [pattern]
    if statuses:
        numbers = "|".join(map(str, statuses))
        alternatives.append(rf"{_BEFORE_STATUS}(?:{numbers}){_AFTER_STATUS}")
    # Followed by its standard phrase, a number is a status at any position.
    known = [HTTPStatus(status) for status in statuses if status in _STATUSES_WITH_PHRASE]
    alternatives += [rf"\b{status.value} (?i:{re.escape(status.phrase)})" for status in known]
    return re.compile("|".join(alternatives))


_SOURCE_TEXTS: Final = re.compile(
    r"error reading source|failed to open source object|source file is being updated"
    r"|failed to reopen|http: ContentLength=\d+ with Body length"
    r"|failed to stat: (?:HTTP Error|Head )"
)
_DESTINATION_TEXTS: Final = re.compile(
    r"error reading destination|mkParentDir|chunked upload|uploading chunk|prepare upload"
    r"|simple update failed|merging the uploaded chunks"
)
_PATH_OR_URL: Final = re.compile(r'"[^"]*/[^"]*"|https?://\S+')
# A page that a server sent as its error: its words count, and the numbers in it do not.
_HTML_PAGE: Final = re.compile(r"<(?:!doctype|html)\b.*</html>", re.IGNORECASE | re.DOTALL)
_PORT: Final = re.compile(r"([\w.\]-]):\d+\b")
# The guard is internal: the message shows the host that it refused, and not the guard's address.
_GUARD_PREFIX: Final = re.compile(r"socks connect tcp \S+?->(\S+: )unknown error ")

# What the words of Go, of SOCKS and of rclone leave open.
_MEANINGS: Final = (
    (
        re.compile(r"\bMove Rename failed: (?!EOF|connection lost).*$"),
        (
            "an upload gets a name of its own, and its final name once it is complete: ask for the "
            "right to rename files, or for a server that can"
        ),
    ),
    (
        re.compile(r"\b30[12378] (?:Moved Permanently|Found|See Other|\w+ Redirect)$"),
        (
            "uploads are redirected, which only the service's WebDAV gateway follows: use the URL "
            "that the server redirects to"
        ),
    ),
    (
        re.compile(r"(?s)\berror reading \w+ (?:root )?directory: .*?context deadline exceeded"),
        "the listing of this folder had not ended when the time was over",
    ),
    (re.compile(r"\bhost unreachable$"), "no such host, or no route to it"),
    (
        re.compile(r"\bserver gave HTTP response to HTTPS client$"),
        "the server does not speak TLS at this port",
    ),
)


def side_of(text: str) -> Side | None:
    """The side that the text itself names; None if it names none."""
    if _SOURCE_TEXTS.search(text):
        return Side.SOURCE
    if _DESTINATION_TEXTS.search(text):
        return Side.DESTINATION
    return None


def classify(text: str, side: Side | None, redactor: Redactor) -> Failure:
    """The failure for a message of rclone; a side that the text names replaces `side`.

    A path that is missing at the destination is not a missing source, and a full source is not
    a full destination: both are a `storage_error`.
    """
    side = side_of(text) or side
    # A port, or a number in a path, can look like a status.
    searched = _PORT.sub(r"\1", _PATH_OR_URL.sub("", text))
    searched = _HTML_PAGE.sub(lambda page: re.sub(r"\d", "", page[0]), searched)
    for rule in rules():
        if rule.matches(searched):
            code, retryable = rule.code, rule.retryable
            break
    else:
        code, retryable = "storage_error", None
    if (code, side) in ((SOURCE_NOT_FOUND, Side.DESTINATION), (QUOTA_EXCEEDED, Side.SOURCE)):
        code, retryable = "storage_error", None
    if retryable is None:
        retryable = CODES[code].retryable
    shown = _GUARD_PREFIX.sub(r"\1", text)
    for words, meaning in _MEANINGS:
        shown = words.sub(rf"\g<0> ({meaning})", shown)
    return Failure(code, redactor.redact(shown, CODES[code].title), retryable, side)
