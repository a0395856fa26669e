"""A session with one storage: what it needs of a request, and how it failed."""

from __future__ import annotations

from typing import Final

from efss_transfer.model.errors import CODES
from efss_transfer.model.request import Endpoint, TransferRequest
from efss_transfer.model.result import Failure, Result, State

# Never made a remote of, and never asked: a session has two ends.
_NOWHERE: Final = Endpoint("http", {"url": "http://nowhere.invalid/"}, "")
_TIMED_OUT: Final = (
    "The storage did not answer in time, or its folder has too many entries to list in that time. "
    "Check the address, or choose a smaller folder."
)


def one_ended(endpoint: Endpoint) -> TransferRequest:
    """A request for a session that has nothing but a source."""
    return TransferRequest(endpoint, _NOWHERE)


def failure_of(result: Result) -> Failure:
    """The failure of a session that did not come to its end. It is the fault of no side."""
    if result.state is State.INCOMPLETE:
        return Failure("incomplete", _TIMED_OUT, retryable=True)
    code = result.code or "internal"
    for group in result.errors:
        return Failure(group.code, group.samples[0].message, group.retryable)
    return Failure(code, CODES[code].title + ".", result.retryable)
