"""Finds out whether a caller may write: makes something of a random name, and removes it."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from efss_transfer.engines.rclone.log import error_codes
from efss_transfer.engines.rclone.rc.client import Job, RcError
from efss_transfer.engines.rclone.rc.jobs import JobRunner
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.rc.unix_http import FILE
from efss_transfer.engines.server_codes import QUOTA_EXCEEDED
from efss_transfer.model.errors import EngineError
from efss_transfer.model.events import Event
from efss_transfer.model.result import Failure, Side
from efss_transfer.model.storage_traits import traits

_CONTENT: Final = b"efss-transfer has checked whether it may write here. Remove this file.\n"


class WriteProbe:
    """Makes and removes a folder, or an object where a folder is only a prefix of names."""

    def __init__(self, run: RunContext, jobs: JobRunner, folder: RemotePath) -> None:
        self._run = run
        self._jobs = jobs
        self._fs = folder.fs
        self._name = f".efss-transfer-{secrets.token_hex(8)}"
        self._is_object = traits(folder.remote.backend).has_buckets

    def probe(self) -> Generator[Event, None, Failure | None]:
        """Write and clean up. Return why that failed, without a side; None if nothing did.

        What was made is removed also if the time runs out.
        """
        may_be_there = True
        try:
            made = yield from self._make()
            if made.error and not (failure := self._failure(made.error)).retryable:
                may_be_there = False
                return failure
            removed = yield from self._remove()
            may_be_there = bool(removed.error) and not made.error
            if made.error:
                return failure
            return self._left(removed.error) if removed.error else None
        finally:
            if may_be_there:
                self._remove_late()

    def _make(self) -> Generator[Event, None, Job]:
        if self._is_object:
            file = {"fs": self._fs, "remote": "", FILE: (self._name, _CONTENT)}
            return (yield from self._jobs.run("operations/uploadfile", file))
        return (yield from self._jobs.run("operations/mkdir", self._target))

    def _remove(self) -> Generator[Event, None, Job]:
        return (yield from self._jobs.run(self._removal, self._target))

    def _remove_late(self) -> None:
        """Remove what was made, once more, when nothing waits any longer."""
        with suppress(EngineError, RcError):
            self._run.rc.start_job(self._removal, self._target).wait(self._run.stop_seconds)

    @property
    def _target(self) -> Mapping[str, Any]:
        return {"fs": self._fs, "remote": self._name}

    @property
    def _removal(self) -> str:
        return "operations/deletefile" if self._is_object else "operations/rmdir"

    def _failure(self, error: str) -> Failure:
        plain = error_codes.classify(error, Side.DESTINATION, self._run.redactor)
        failure = self._run.classify(error, Side.DESTINATION, self._name)
        if plain.code == QUOTA_EXCEEDED:
            # The server's own words are taken for those of a source, which has no quota.
            failure = replace(failure, code=plain.code, retryable=plain.retryable)
        return replace(failure, side=None)

    def _left(self, error: str) -> Failure:
        failure = self._failure(error)
        text = (
            f"`{self._name}` was made to check this and could not be removed, so remove it "
            f"yourself: {failure.message}"
        )
        return replace(failure, message=text)
