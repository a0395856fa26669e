"""One run, step by step, and its clean-up: the daemon, both remotes, the transfer, the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from efss_transfer.config import resources
from efss_transfer.config.settings import Settings
from efss_transfer.engines.base import Context
from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.rclone.gateways import choose_gateways
from efss_transfer.engines.rclone.log.copy_lines import Explain, unexplained
from efss_transfer.engines.rclone.log.parser import LogParser
from efss_transfer.engines.rclone.outcome import RunOutcome
from efss_transfer.engines.rclone.process.launcher import DaemonLauncher
from efss_transfer.engines.rclone.rc import config
from efss_transfer.engines.rclone.rc.client import RcError
from efss_transfer.engines.rclone.rc.jobs import TransferInterrupted
from efss_transfer.engines.rclone.rc.remotes import RemotePath, remote_paths
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.rclone.transfer import tuning
from efss_transfer.engines.rclone.transfer.comparison import listed_pages
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.errors import EngineError
from efss_transfer.model.events import FileDone
from efss_transfer.model.locations import StoragePath
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import Result, Side
from efss_transfer.model.verification import VerifyMode

if TYPE_CHECKING:
    from efss_transfer.engines.rclone.log.server_words import ServerWords
    from efss_transfer.engines.rclone.transfer.job import Transfer
    from efss_transfer.model.storage_check import ServerProduct
    from efss_transfer.webdav.words import Record

_ASK_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.2


class Session:
    """One run. Within `cleaned_up` call `boot_daemon`, `create_remote` for each side, and
    `prepare_transfer`, in this order; after it `file_events` and `result`.
    """

    source: RemotePath
    """Set by `boot_daemon`."""
    destination: RemotePath
    """Set by `boot_daemon`; shares the remote of `source` if both are the same storage."""
    run: RunContext
    """Set by `boot_daemon`."""
    ask_product: Callable[[], ServerProduct | None]
    """Asks the source's server what it is. Set by `boot_daemon`."""

    def __init__(
        self,
        launcher: DaemonLauncher,
        settings: Settings,
        request: TransferRequest,
        context: Context,
    ) -> None:
        self._launcher = launcher
        self._settings = settings
        self._request = request
        self._context = context
        self._began = time.monotonic()
        self._redactor = Redactor(request.source.secrets | request.destination.secrets)
        self._outcomes = FileOutcomes()
        self._log = LogParser(self._outcomes, self._redactor)
        self._outcome = RunOutcome(self._outcomes, self._log, self._redactor)
        self._cleanup = ExitStack()
        # Ends last.
        self._claimed = self._cleanup.enter_context(ExitStack())
        self._created_remotes: set[str] = set()
        self._version = ""
        self._server_words: ServerWords | None = None

    @property
    def started(self) -> datetime:
        """When the run started."""
        return self._outcome.started

    @contextmanager
    def cleaned_up(self) -> Iterator[None]:
        """However the block ends, delete the remotes and end the daemon; then turn an exception
        into the outcome of the run: see RunOutcome.
        """
        with self._outcome.from_exceptions(), self._cleanup:
            yield
        if self._server_words is not None:
            self._server_words.add_to(self._outcomes, self._request.selection)

    def boot_daemon(self) -> None:
        """Boot `rclone rcd`, or take the daemon on standby.

        Raises EngineUnavailable if rclone cannot run or is too old, and InvalidRequest if it does
        not understand a pattern of the selection.
        """
        context, settings = self._context, self._settings
        binary = self._launcher.binary()
        daemon = self._cleanup.enter_context(
            self._launcher.launch(binary, self._request, context.egress, self._log.take)
        )
        # While rclone boots, an import costs nothing: in a cold start on AWS Lambda it would.
        import efss_transfer.engines.rclone.transfer.job  # noqa: F401

        self._redactor.add(daemon.route.secrets)
        daemon.rc.log_lines, daemon.rc.log_lines_until = lambda: self._log.lines, context.deadline
        gateways = choose_gateways(daemon.route, context, settings, self._request, self._redactor)
        self._request = gateways.request
        self.ask_product = gateways.ask_product
        self.run = RunContext(
            daemon.rc,
            self._log,
            self._outcomes,
            self._redactor,
            context,
            settings.rclone.stop_seconds,
            gateways.begin_attempt,
            gateways.forget,
            settings.memory_bytes - gateways.memory,
            gateways.confirm_uploads,
            daemon.expect_no_end,
            proxy=daemon.route.proxy,
            batching=gateways.batching,
            resident_bytes=partial(resources.resident_bytes, daemon.pid),
        )
        self._version = self._launcher.version(binary, daemon.rc)
        if (proxy := daemon.route.global_proxy(self._request)) is not None:
            daemon.rc.set_proxy(proxy)
        daemon.route.admit_process(daemon.pid, self._request)
        config.check_filters(daemon.rc, self._request.selection)
        self.source, self.destination = remote_paths(
            gateways.routed(),
            lambda type_: self._tuning_parameters(type_) | gateways.remote_parameters(type_),
            daemon.route.remote_parameters,
        )
        self.run.gateways.update(gateways.records)
        explain: Explain = unexplained
        if gateways.records:
            from efss_transfer.engines.rclone.log.server_words import ServerWords
            from efss_transfer.engines.rclone.transfer.source_lookup import source_lookup

            roots = {path.side: path.path for path in (self.source, self.destination)}
            self._server_words = ServerWords(gateways.records, roots, self._redactor)
            explain = self._server_words.explain
            gateways.ask_source(source_lookup(self.run, self.source, self.destination))
        self._read_listings(gateways.records, explain)
        if self.source.remote.backend == "webdav" and Side.SOURCE not in gateways.records:
            text = "rclone alone reads this server's listings."
            self._outcomes.warn("without_gateway", "", text)

    def _read_listings(self, gateways: Mapping[Side, Record], explain: Explain) -> None:
        """Read from the log which entries rclone passes over, on the sides without a gateway."""
        # `boot_daemon` has imported both, with the transfer: a cold start does not pay for them.
        from efss_transfer.engines.rclone.log.listing_lines import ListingRoot
        from efss_transfer.engines.rclone.log.passed_over import PassedOver

        if "sftp" in (self._request.source.type, self._request.destination.type):
            from efss_transfer.engines.rclone.log.shells import UnansweredShells

            self._log.shells = UnansweredShells()
        roots = {
            path.side: ListingRoot(
                path.remote.backend,
                path.path,
                unquote(urlsplit(path.remote.parameters.get("url", "")).path),
            )
            for path in (self.source, self.destination)
            if path.side not in gateways
        }
        passed_over = PassedOver(self._outcomes, roots, self._request.selection, self._redactor)
        self._log.passed_over = passed_over
        self._log.explain = lambda path, text, found: passed_over.explain(
            path, explain(path, text, found)
        )

    def create_remote(self, path: RemotePath) -> None:
        """POST config/create: a remote in the memory of the daemon. One that both sides share is
        created once.
        """
        remote = path.remote
        if remote.name not in self._created_remotes:
            self._created_remotes.add(remote.name)
            # Before the call, because a call that fails may have created it.
            self._cleanup.callback(self._delete_remote, remote.name)
            parameters = {**remote.parameters, **self._listing_parameters(path)}
            self.run.rc.create_remote(remote.name, remote.backend, parameters)

    def _listing_parameters(self, path: RemotePath) -> dict[str, str]:
        """More parameters for an FTP server without MLSD, so that it lists hidden files."""
        if path.remote.backend != "ftp":
            return {}
        from efss_transfer.engines.rclone.ftp.listings import guesses

        until = min(time.monotonic() + _ASK_SECONDS, self._context.deadline)

        def may_wait() -> bool:
            return time.monotonic() < until and self._context.end_state() is None

        hidden = guesses(path.remote.parameters, path.path, may_wait)
        if hidden is not None:
            self.run.guessed_listings[path.side] = hidden
        return {"force_list_hidden": "true"} if hidden else {}

    def prepare_transfer(self) -> Transfer:
        """Make everything ready for the copy. From here on an error is part of the result."""
        self._log_details()
        from efss_transfer.engines.rclone.transfer.job import Transfer  # see boot_daemon

        transfer = Transfer(self.run, self._request, self._settings, self._launcher.running)
        self._outcome.transfer = transfer
        return transfer

    def begin_look(self) -> None:
        """Make everything ready for a look at the source alone. From here on an error is part of
        the result.
        """
        self._log_details()
        self._outcome.is_looking = True

    def _log_details(self) -> None:
        rc = self.run.rc
        if rc.first_response_at is not None and rc.first_response_at > self._began:
            self._context.observer.booted(rc.first_response_at - self._began)
        # Only DEBUG reports skipped files. It also logs the parameters of each call, so it must
        # not be set before the calls that contain credentials.
        rc.set_log_level("DEBUG")

    def begin_writing(self) -> None:
        """Wait until no other transfer of this process cleans up at the destination."""
        claim = self.run.claim
        self._claimed.enter_context(claim.held(StoragePath.of(self._request.destination)))
        while not claim.wait(_POLL_SECONDS):
            if (state := self._context.end_state()) is not None:
                raise TransferInterrupted(state)

    def file_events(self) -> Generator[FileDone, None, None]:
        """The outcomes of files that were not reported during the copy."""
        for outcome in self._outcomes.drain():
            yield FileDone(outcome)

    def result(self, engine: str) -> Result:
        """The result: totals, errors, and what rclone itself returned."""
        words = self._server_words
        if words is None:
            return self._outcome.result(engine, self._version)
        return self._outcome.result(engine, self._version, words.sides, words.bulk)

    def _tuning_parameters(self, type_: str) -> dict[str, str]:
        is_verified = self._request.options.verify is not VerifyMode.NONE
        tuned = tuning.parameters(type_, self.run.memory_bytes, verified=is_verified)
        return tuned | listed_pages.parameters(type_)

    def _delete_remote(self, name: str) -> None:
        """POST config/delete. If it fails, the remote ends with the daemon, which keeps it in its
        memory only.
        """
        rc = self.run.rc
        rc.limit_timeout(self._settings.rclone.stop_seconds)
        with suppress(EngineError, RcError):
            rc.delete_remote(name)
