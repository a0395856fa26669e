"""Reads the answer to a third-party COPY: performance markers, then one line with the outcome.

The form is that of dCache, XRootD, EOS, StoRM and REVA ("HTTP third-party copy", WLCG DOMA). The
status of the answer says nothing about the copy: it is sent before the first byte moves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_LONGEST_LINE: Final = 1 << 14
_MOST_STRIPES: Final = 1_024
_MEMBER: Final = re.compile(r"\s*(Stripe Index|Stripe Bytes Transferred)\s*:\s*(\d{1,19})\s*")
_VERDICT: Final = re.compile(r"(?i)\s*(success|failure|failed|aborted)\b\s*:?\s*(.*)")


@dataclass(frozen=True)
class Verdict:
    """The last line: whether the copy succeeded, and the storage's text."""

    has_succeeded: bool
    text: str


class Markers:
    """Reader of one answer. `moved` is the number of bytes that have moved, by the last markers."""

    def __init__(self) -> None:
        self.moved = 0
        self.verdict: Verdict | None = None
        self.has_begun = False
        """Whether the answer is one of a third-party copy."""
        self._rest = b""
        self._stripe = 0
        self._stripes: dict[int, int] = {}

    def feed(self, data: bytes) -> None:
        """Read the next bytes."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:_LONGEST_LINE]
        for line in lines:
            self._read(line[:_LONGEST_LINE])

    def close(self) -> None:
        """Read the end, which may lack its line break."""
        self._read(self._rest)
        self._rest = b""

    def _read(self, raw: bytes) -> None:
        line = raw.decode("utf-8", "replace").strip()
        if (found := _MEMBER.fullmatch(line)) is not None:
            number = int(found[2])
            if found[1] == "Stripe Index":
                self._stripe = number
            elif self._stripe in self._stripes or len(self._stripes) < _MOST_STRIPES:
                self._stripes[self._stripe] = number
                self.moved = max(self.moved, sum(self._stripes.values()))
        elif line == "Perf Marker":
            self.has_begun = True
        elif (verdict := _VERDICT.fullmatch(line)) is not None:
            # A later line decides: only the last one is the outcome.
            self.has_begun = True
            self.verdict = Verdict(verdict[1].lower() == "success", verdict[2])
