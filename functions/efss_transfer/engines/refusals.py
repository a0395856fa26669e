"""Ends a run before its copy: an end of the transfer cannot be used."""

from __future__ import annotations

from efss_transfer.model.result import Failure


class EndRefused(Exception):
    """An end of the transfer that cannot be used: nothing was copied."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure
