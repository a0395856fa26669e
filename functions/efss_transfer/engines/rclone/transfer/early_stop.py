"""Decides when the rest of an attempt is better not made."""

from __future__ import annotations

from efss_transfer.engines.rclone.rc.progress import ProgressReporter
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer.hangs.outage import OutageWatch


class EarlyStop:
    """Ends an attempt early: at an outage, or at the first failure if the request says so.

    An attempt also ends if the destination cannot be listed, because rclone would take it for
    empty.
    """

    def __init__(self, run: RunContext, progress: ProgressReporter, on_error: str) -> None:
        self._run = run
        self.outage = OutageWatch(run, progress)
        """Decides when nothing gets through any more."""
        self._on_first_failure = on_error == "stop"
        self.has_stopped = False
        """Whether this attempt was ended before it had looked at every file."""

    def begin_attempt(self) -> None:
        """Begin a new attempt, which has not been stopped."""
        self.has_stopped = False
        self.outage.begin_attempt()

    def should_stop(self) -> bool:
        """Whether this attempt must end now. Once it must, it stays so."""
        if not self.has_stopped:
            outcomes = self._run.outcomes
            self.has_stopped = (
                (self._on_first_failure and outcomes.failures_in_attempt > 0)
                or self._run.log.destination_list_failed
                or outcomes.is_outage()
                or self.outage.should_stop()
            )
        return self.has_stopped

    @property
    def rules_out_retry(self) -> bool:
        """Whether a file has failed for good, after which the request wants no other attempt."""
        return self._on_first_failure and self._run.outcomes.totals.failed > 0
