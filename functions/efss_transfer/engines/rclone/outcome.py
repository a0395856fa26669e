"""Turns the end of a run, be it an exception, into its result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.rclone.log.error_codes import classify
from efss_transfer.engines.rclone.log.parser import LogParser
from efss_transfer.engines.rclone.rc.client import RcError, RcloneEnded
from efss_transfer.engines.rclone.rc.jobs import TransferInterrupted
from efss_transfer.engines.rclone.report import exit_code, report
from efss_transfer.engines.rclone.transfer.path_kind import CopyRefused
from efss_transfer.engines.redaction import Redactor
from efss_transfer.engines.refusals import EndRefused
from efss_transfer.model.errors import EngineError, lack_of_threads
from efss_transfer.model.result import (
    ErrorGroup,
    Failure,
    Result,
    Side,
    State,
    final_state,
    utc_now,
)

if TYPE_CHECKING:
    from efss_transfer.engines.rclone.transfer.job import Transfer

# A busy machine may read the last of millions of lines late.
_LOG_SECONDS: Final = 5.0
_OUT_OF_MEMORY: Final = (
    "rclone used up its memory, as it does for a folder with millions of entries or a listing "
    "without end. Copy a part of the folder, or ask the site for more memory "
    "(EFSS_TRANSFER_MEMORY_BYTES)."
)


class RunOutcome:
    """How one run ended: its state, errors and result."""

    def __init__(self, outcomes: FileOutcomes, log: LogParser, redactor: Redactor) -> None:
        self._outcomes = outcomes
        self._log = log
        self._redactor = redactor
        self._forced_state: State | None = None
        self.started = utc_now()
        self.transfer: Transfer | None = None
        """The transfer, once nothing but the copy is left to begin."""
        self.is_looking = False
        """Whether a look at a storage has begun, which is no transfer."""

    @contextmanager
    def from_exceptions(self) -> Iterator[None]:
        """Turn an exception that ends the block into the outcome of the run. After the block all
        outcomes of files are final.

        An EngineError before the transfer is raised, because the run could not begin.
        """
        try:
            yield
        except TransferInterrupted as interruption:
            self._forced_state = interruption.state
        except (CopyRefused, EndRefused) as refusal:
            self._outcomes.add_final_error(refusal.failure)
        except RcError as error:
            # A refused parameter is an error of the side that was opened last, if any was.
            side = self._log.last_opened_side
            self._outcomes.add_final_error(classify(error.text, side, self._redactor))
        except (EngineError, RuntimeError) as error:
            known = error if isinstance(error, EngineError) else lack_of_threads(error)
            if known is None:
                raise
            if self.transfer is None and not self.is_looking:
                raise known from None
            self._outcomes.add_final_error(self._engine_failure(known))
            # Even if some files arrived: this is the fault of no storage.
            self._forced_state = State.FAILED
        self._outcomes.close()

    def result(
        self,
        engine: str,
        version: str,
        gateways: Sequence[Side] = (),
        bulk: Mapping[str, int] | None = None,
    ) -> Result:
        """The result. It is exact once rclone's log was read to its last line. `gateways` are
        the sides behind a WebDAV gateway, which sent and read so many files in `bulk`.
        """
        totals, errors, transfer = self._outcomes.totals, self._outcomes.errors, self.transfer
        state = self._forced_state or final_state(totals, errors)
        status = transfer.status if transfer else {}
        stats = transfer.stats if transfer else {}
        code = exit_code(state, str(status.get("error", "")), stats, errors)
        tuning = transfer.tuning if transfer else None
        return Result(
            state=state,
            engine=engine,
            totals=totals,
            started=self.started,
            finished=utc_now(),
            code=self._code(state, errors),
            errors=errors,
            attempts=transfer.attempts if transfer else 1,
            verification=transfer.verification if transfer else None,
            warnings=self._outcomes.warnings,
            engine_report=report(
                version, code, status, stats, self._redactor, tuning, gateways, bulk
            ),
        )

    def _engine_failure(self, error: EngineError) -> Failure:
        if isinstance(error, RcloneEnded):
            self._log.wait_for_end(_LOG_SECONDS)  # its last words are why
        if self._log.is_out_of_memory:
            # The same request meets the same folder again, unless some files have arrived.
            return Failure("engine_failed", _OUT_OF_MEMORY, self._outcomes.totals.transferred > 0)
        return Failure("engine_failed", str(error), error.retryable)

    def _code(self, state: State, errors: tuple[ErrorGroup, ...]) -> str | None:
        if state is State.SUCCEEDED:
            return None
        if state is not State.FAILED:
            return state.value
        return "engine_failed" if self._forced_state else errors[0].code
