"""Stable error codes for the reasons that storages give for a third-party copy that failed.

Each rule has examples, which a test checks: texts that were seen at real storages. A reason that
fits no rule is a `storage_error`, and another attempt may help: no code is guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from efss_transfer.engines.server_codes import failure_of
from efss_transfer.model.errors import CODES
from efss_transfer.model.result import Failure, Side
from efss_transfer.webdav.words import RequestFailure, Words

if TYPE_CHECKING:
    from efss_transfer.engines.redaction import Redactor

# The status that the passive storage answered, in the active one's words: XRootD and EOS, dCache.
_STATUS: Final = re.compile(
    r"(?:status code|HTTP/\d(?:\.\d)?|rejected (?:GET|PUT|HEAD)\S*:?)[: ]+([1-5]\d\d)\b"
)
_SAID: Final = re.compile(r'error message: "(.*?)\s*"')


@dataclass(frozen=True)
class ReasonRule:
    """A code for the reasons that a pattern finds, the side it blames, and examples.

    `is_passive`: the side that the copying storage reads from or writes to, which is otherwise
    that storage itself.
    """

    code: str
    pattern: str
    is_passive: bool
    examples: tuple[str, ...]


RULES: Final = (
    ReasonRule(
        "checksum_mismatch",
        r"(?i)checksum (?:mismatch|verification failed)|checksums? (?:do(?:es)? not|differ)",
        False,
        ("checksum verification failed", "Checksum mismatch: adler32 differs"),
    ),
    ReasonRule(
        "quota_exceeded",
        r"(?i)no space left|(?:disk )?quota exceeded|insufficient (?:space|storage)",
        False,
        ("Unable to write /a; no space left on device", "Disk quota exceeded"),
    ),
    ReasonRule(
        "storage_unreachable",
        r"(?i)certificate|ssl|tls handshake",
        True,
        ("Curl internal error: SSL peer certificate or SSH remote key was not OK",),
    ),
    ReasonRule(
        "storage_unreachable",
        r"(?i)(?:could ?n[o']t|unable to|failed to) (?:connect|resolve)"
        r"|connection (?:refused|reset)|timed? ?out|timeout"
        r"|no route to host|transfer closed|stalled",
        True,
        (
            "Curl internal error: Couldn't connect to server",
            "Connection refused",
            "Transfer timed out while idle",
            "Curl internal error: Transfer closed with 100 bytes remaining to read",
        ),
    ),
)


def of_reason(text: str, active: Side, redactor: Redactor) -> Failure:
    """The failure that a storage gave for a copy. `active` is the side that was to copy."""
    passive = Side.DESTINATION if active is Side.SOURCE else Side.SOURCE
    if (found := _STATUS.search(text)) is not None:
        said = _SAID.search(text)
        method = "GET" if passive is Side.SOURCE else "PUT"
        words = Words(int(found[1]), "", said[1] if said else text)
        return failure_of(RequestFailure(method, "", words), passive, redactor)
    shown = redactor.redact(text, "The storage gave no reason that can be shown.")
    for rule in RULES:
        if re.search(rule.pattern, text):
            side = passive if rule.is_passive else active
            if rule.code == "quota_exceeded":
                side = Side.DESTINATION
            return Failure(rule.code, shown, CODES[rule.code].retryable, side)
    # It may pass: the copy had begun, and nothing says that it must fail again.
    return Failure("storage_error", shown or "The copy failed.", retryable=True, side=active)


def stalled(side: Side, seconds: float) -> Failure:
    """The failure of a copy in which nothing moves."""
    text = f"Nothing moved for {seconds:.0f} seconds, although the storage says that it copies."
    return Failure("storage_unreachable", text, retryable=True, side=side)


def without_outcome(active: Side, *, is_markers: bool) -> Failure:
    """The failure of an answer that ended without saying how the copy did."""
    text = "The storage ended its answer before it said how the copy ended."
    if not is_markers:
        text = (
            "The storage answered the copy without an outcome. A success that it does not state "
            "is not believed; copy with the engine `rclone` instead."
        )
    return Failure("storage_error", text, retryable=is_markers, side=active)
