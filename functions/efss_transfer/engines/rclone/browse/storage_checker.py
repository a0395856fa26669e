"""Checks step by step what a caller may do with a storage, and asks what it can."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final

from efss_transfer.engines.base import outcome_of
from efss_transfer.engines.check_steps import look_steps, skipped, write_step
from efss_transfer.engines.rclone.browse.folder_lister import FolderLister
from efss_transfer.engines.rclone.browse.one_end import failure_of
from efss_transfer.engines.rclone.browse.write_probe import WriteProbe
from efss_transfer.engines.rclone.rc.client import Job
from efss_transfer.engines.rclone.rc.jobs import JobRunner, TransferInterrupted
from efss_transfer.engines.rclone.rc.progress import ProgressReporter
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.model.errors import CODES
from efss_transfer.model.events import Event
from efss_transfer.model.result import Failure, Result, State
from efss_transfer.model.storage_check import (
    CheckName,
    CheckStep,
    ServerProduct,
    StorageAbilities,
    StorageCheck,
    StorageSpace,
)
from efss_transfer.model.storage_traits import traits

_FACT_SECONDS: Final = 10.0
_COMMON_CHECKSUMS: Final = ("md5", "sha1", "sha256", "sha512")
# What rclone calls the precision of a storage that keeps no times: a hundred years.
_NO_TIMES: Final = 3_000_000_000_000_000_000
# It is not the storage that failed.
_OURS: Final = frozenset({"engine_failed", "internal", "cancelled"})


class StorageChecker:
    """Checks one storage: `recognise`, `look`, `write` if that is asked for, and `learn`."""

    def __init__(self, storage_type: str) -> None:
        self._type = storage_type
        self._lister = FolderLister(1, must_exist=not traits(storage_type).has_buckets)
        self._has_looked = False
        self._write = skipped(CheckName.WRITE)
        self._space = StorageSpace()
        self._abilities: StorageAbilities | None = None
        self._product: ServerProduct | None = None

    def recognise(self, ask_product: Callable[[], ServerProduct | None]) -> None:
        """Ask the server for its product, which takes no credential."""
        self._product = ask_product()

    def look(self, run: RunContext, path: RemotePath) -> None:
        """List the path. Raises CopyRefused if that is refused, and TransferInterrupted."""
        self._lister.read(run, path)
        self._has_looked = True

    def write(self, run: RunContext, path: RemotePath) -> None:
        """Make and remove something in the path. Raises TransferInterrupted."""
        self._write = write_step(_timed_out())
        if self._lister.is_file:
            self._write = write_step(_is_a_file())
            return
        with run.log.probing():
            jobs = JobRunner(run, ProgressReporter(run))
            self._write = write_step(outcome_of(WriteProbe(run, jobs, path).probe()))

    def learn(self, run: RunContext, path: RemotePath) -> None:
        """Ask for the space and the abilities. What the storage does not tell stays unknown."""
        with run.log.probing():
            outcome_of(self._learn(run, path.parent if self._lister.is_file else path.fs))

    def check(self, result: Result) -> StorageCheck:
        """What was found, given how the session has ended."""
        failure = None if self._has_looked else self._lister.failure or failure_of(result)
        if failure is not None and failure.code in _OURS:
            return StorageCheck(self._type, failure=failure)
        steps: tuple[CheckStep, ...] = (*look_steps(failure), self._write)
        return StorageCheck(self._type, steps, self._space, self._product, self._abilities)

    def _learn(self, run: RunContext, fs: str) -> Generator[Event, None, None]:
        jobs = JobRunner(run, ProgressReporter(run), _timeout(_FACT_SECONDS))
        try:
            info = yield from jobs.run("operations/fsinfo", {"fs": fs})
            about = yield from jobs.run("operations/about", {"fs": fs})
        except TransferInterrupted as interruption:
            if interruption.state is not State.INCOMPLETE:
                raise
            return
        self._abilities = _abilities(info)
        self._space = _space(about.output)


def _abilities(info: Job) -> StorageAbilities | None:
    precision = info.output.get("Precision")
    if info.error or not isinstance(precision, int):
        return None
    kinds = info.output.get("Hashes") or ()
    return StorageAbilities(
        tuple(kind for kind in _COMMON_CHECKSUMS if kind in kinds), precision < _NO_TIMES
    )


def _space(about: Mapping[str, Any]) -> StorageSpace:
    def told(name: str) -> int | None:
        count = about.get(name)
        return count if isinstance(count, int) and count >= 0 else None

    return StorageSpace(told("free"), told("total"), told("used"))


def _timed_out() -> Failure:
    text = "The storage did not answer in time whether something may be written."
    return Failure("incomplete", text, CODES["incomplete"].retryable)


def _is_a_file() -> Failure:
    text = "The path is a file. Check the folder that contains it."
    return Failure("not_a_directory", text, CODES["not_a_directory"].retryable)


def _timeout(seconds: float) -> Callable[[], bool]:
    """Tells whether that many seconds have passed since this call."""
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until
