"""Chooses the configuration of a copy, from a probe of the source, and slows it down on retries."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from efss_transfer.config import resources
from efss_transfer.engines.rclone.rc import config as rc_config
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer import tuning
from efss_transfer.engines.rclone.transfer.comparison.new_destination import is_new
from efss_transfer.engines.rclone.transfer.source_probe import SourceProbe
from efss_transfer.engines.rclone.transfer.tuning import NOTHING_LARGE, Tuning, TuningLimits
from efss_transfer.model.events import Event
from efss_transfer.model.request import TransferRequest

# Each call is a thread and a connection to rclone.
CALLS_AT_ONCE: Final = 16
"""Maximum number of files that are copied or looked up by calls of their own at the same time."""


class Tuner:
    """The `_config` of a copy: what the request asks for, and what makes it fast.

    `concurrent_runs` is the number of runs in this process, this one included.
    """

    def __init__(
        self,
        run: RunContext,
        probe: SourceProbe,
        request: TransferRequest,
        concurrent_runs: int,
    ) -> None:
        self._run = run
        self._probe = probe
        self._request = request
        self._concurrent_runs = concurrent_runs
        self._current: Tuning | None = None
        self.chosen: Tuning | None = None
        """What was chosen for the first attempt; None before `choose`."""
        self._config: dict[str, Any] = {}
        self.rules: Mapping[str, Any] = {}
        """Members of `_config` that decide how files are compared."""
        self.checks: Mapping[str, Any] = {}
        """Members of `_config` that replace others where checksums are not believed."""

    @property
    def config(self) -> dict[str, Any]:
        """`_config` for the calls of this attempt."""
        return {**self._config, **self.rules, **self.checks}

    @property
    def files_at_once(self) -> int:
        """How many listed files are copied at the same time."""
        wanted = self._request.options.transfers or CALLS_AT_ONCE
        return min(wanted, int(self.config["Transfers"]))

    @property
    def pages(self) -> frozenset[str] | None:
        """The HTML pages of the source, as far as the probe has found out: see SourceProbe."""
        return self._probe.pages

    def choose(self, source: RemotePath, destination: RemotePath) -> Iterator[Event]:
        """Probe the source, and choose what makes the copy fast.

        Raises CopyRefused if the destination's bucket does not exist.
        """
        limits = self._limits()
        config = rc_config.copy_config(self._request)
        large_files = NOTHING_LARGE
        if self._request.options.dry_run:  # It moves nothing, and is a probe itself.
            yield from self._probe.confirm_bucket(destination)
            if source.remote.backend != "http":  # a web server is asked what each name is
                with self._run.log.probing():
                    yield from self._probe.list_folders(source, self._request.selection)
        else:
            # rclone keeps as many connections open as are expected when it opens a storage.
            most = tuning.checkers(source.remote, destination.remote, limits)
            opening = {**config, "Transfers": most, "Checkers": most}
            large_files = yield from self._probe.probe(
                source, destination, self._request.selection, limits, opening
            )
            if self._run.batching.may_read_ahead and (yield from is_new(self._probe, destination)):
                self._run.batching.read_ahead(source.path)
            if (yield from self._probe.ignores_case(destination)):
                # rclone then passes over the second of two such names, and says so.
                config["IgnoreCaseSync"] = True
            if not self._probe.may_resume:
                config["LowLevelRetries"] = 1
        if limits.batched and large_files.are_few:
            limits = replace(limits, batched=self._run.batching.begin())
        self.chosen = tuning.choose(source.remote, destination.remote, limits, large_files)
        self._current = self.chosen
        self._config = config | self.chosen.config()

    def slow_down(self) -> None:
        """Use fewer transfers at a time in the next attempt."""
        if self._current is not None:
            self._current = self._current.slower()
            self._config = self._config | self._current.config()

    def _limits(self) -> TuningLimits:
        context, options = self._run.context, self._request.options
        is_shard = self._request.selection.shard is not None
        return TuningLimits(
            memory=self._run.memory_bytes,
            seconds=max(0.0, context.deadline - time.monotonic()),
            rate=options.bandwidth_limit,
            requested_transfers=options.transfers,
            allowed_transfers=context.limits.transfers,
            # The caller who splits a copy into shards has chosen how many run at a time.
            concurrent_runs=1 if is_shard else self._concurrent_runs,
            processors=resources.cpu_count(),
            batched=self._run.batching.candidates(),
        )
