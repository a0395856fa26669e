"""Waiting before another try: exponential backoff with jitter, and Retry-After."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# A wait of more digits is longer than any caller waits, and as a float could be infinite.
_MOST_DIGITS = 9


@dataclass(frozen=True)
class Backoff:
    """Waits that double with each try, in seconds.

    The first wait is `first`, none is longer than `longest`, and up to `jitter` is added at
    random, so that callers that failed together do not come back together.
    """

    first: float
    longest: float
    jitter: float

    def seconds(self, tries: int, asked: float = 0.0) -> float:
        """Return the wait after so many failed tries (1 or more).

        It is at least `asked`, the seconds that a server asked for.
        """
        # The exponent is bounded: from then on the wait is `longest`, and 2**n could overflow.
        doubled = self.first * 2.0 ** min(tries - 1, 63)
        wait = min(doubled, self.longest) + random.uniform(0, self.jitter)  # noqa: S311 - no secret
        return max(asked, wait)


def retry_after_seconds(header: str | None) -> float | None:
    """Return what a Retry-After header asks for (RFC 9110, section 10.2.3): seconds from now.

    The header is a number of seconds or a date. None for a missing or unreadable header; a
    date in the past is 0.
    """
    if header is None:
        return None
    if header.isascii() and header.isdecimal():
        return float(header[:_MOST_DIGITS])
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
