"""From what rclone and the servers say to stable codes: the table is failures.json.

Each of its rules has examples, texts that were measured (efss-facts.md, rclone-facts.md),
seen in this project's own tests, or stand in rclone's source; a test holds the rule to
them. A text that no rule knows is `storage_error`: it is never guessed.
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
from efss_transfer.model.errors import CODES
from efss_transfer.model.result import Failure, Side

NOT_FOUND: Final = "source_not_found"
NO_SPACE: Final = "quota_exceeded"
IS_A_FILE: Final = "is a file not a directory"
IS_A_DIRECTORY: Final = "is a directory not a file"
OBJECT_NOT_FOUND: Final = "object not found"
NO_FOLDER: Final = "directory not found"
TIME_IS_UP: Final = "max transfer duration reached"

# Before a status and behind it, as rclone and its libraries write one. A number elsewhere
# is a count of bytes, a line, or a part of a name.
_AFTER: Final = r"(?i:status(?: ?code)?|code|error|response|http(?:/\d(?:\.\d)?)?|got)[: ]{1,2}"
_BEFORE: Final = rf"(?:^|: |\(|\b{_AFTER})"
_BEHIND: Final = r"(?=$|[:,).;]| (?!bytes\b|of\b|to\b|required\b))"
_PHRASED: Final = frozenset(HTTPStatus)


@dataclass(frozen=True)
class Rule:
    """Texts that mean a code: those that have one of the statuses, or fit the pattern.

    `retryable` overrides the code's own, where the cause is known to pass, or to stay;
    `why` says how that is known.
    """

    code: str
    examples: tuple[str, ...]
    expression: re.Pattern[str]
    retryable: bool | None = None
    why: str = ""

    def matches(self, text: str) -> bool:
        """Whether this rule knows the text."""
        return self.expression.search(text) is not None


@cache
def rules() -> tuple[Rule, ...]:
    """The first that matches decides, so a special case stands before the general one.

    Compiled when something first failed: a start must not wait for it.
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
    ways = [] if pattern is None else [pattern]
    if statuses:
        ways.append(rf"{_BEFORE}(?:{'|'.join(map(str, statuses))}){_BEHIND}")
    # With its own words it is one wherever it stands.
    known = [HTTPStatus(status) for status in statuses if status in _PHRASED]
    ways += [rf"\b{status.value} (?i:{re.escape(status.phrase)})" for status in known]
    return re.compile("|".join(ways))


_SOURCE_TEXTS: Final = re.compile(
    r"error reading source|failed to open source object|source file is being updated"
    r"|failed to reopen|http: ContentLength=\d+ with Body length"
)
_DESTINATION_TEXTS: Final = re.compile(
    r"error reading destination|mkParentDir|chunked upload|uploading chunk|prepare upload"
    r"|simple update failed|merging the uploaded chunks"
)
_PLACE: Final = re.compile(r'"[^"]*/[^"]*"|https?://\S+')
# A page that a server sent instead of a word: what it says counts, and no number in it.
_PAGE: Final = re.compile(r"<(?:!doctype|html)\b.*</html>", re.IGNORECASE | re.DOTALL)
_PORT: Final = re.compile(r"([\w.\]-]):\d+\b")
# The guard is a matter of the service's own: what it said of a host is what is told.
_BY_THE_GUARD: Final = re.compile(r"socks connect tcp \S+?->(\S+: )unknown error ")


def side_of(text: str) -> Side | None:
    """The side that the text itself names, if it names one."""
    if _SOURCE_TEXTS.search(text):
        return Side.SOURCE
    if _DESTINATION_TEXTS.search(text):
        return Side.DESTINATION
    return None


def classify(text: str, side: Side | None, cleaner: Redactor) -> Failure:
    """What a text of rclone's means, on a side that is known, or named by the text.

    A thing that is missing at the destination is no missing source, and a source that is
    full is no full destination: those are failures of the storage.
    """
    side = side_of(text) or side
    # A port or a file's name may be a number that means something as a status.
    spoken = _PORT.sub(r"\1", _PLACE.sub("", text))
    spoken = _PAGE.sub(lambda page: re.sub(r"\d", "", page[0]), spoken)
    for rule in rules():
        if rule.matches(spoken):
            code, retryable = rule.code, rule.retryable
            break
    else:
        code, retryable = "storage_error", None
    if (code, side) in ((NOT_FOUND, Side.DESTINATION), (NO_SPACE, Side.SOURCE)):
        code, retryable = "storage_error", None
    if retryable is None:
        retryable = CODES[code].retryable
    shown = _BY_THE_GUARD.sub(r"\1", text)
    return Failure(code, cleaner.redact(shown, CODES[code].title), retryable, side)
