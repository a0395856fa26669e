"""The rclone engine: each run boots a private `rclone rcd` and ends it again."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from efss_transfer.config.settings import Settings
from efss_transfer.engines.base import Context, Health, Survey
from efss_transfer.engines.rclone.process.launcher import DaemonLauncher
from efss_transfer.engines.rclone.process.network import UNGUARDED
from efss_transfer.engines.rclone.session import Session
from efss_transfer.model.events import Event, Finished, Started
from efss_transfer.model.request import Endpoint, TransferRequest

if TYPE_CHECKING:
    from efss_transfer.model.listing import FolderListing
    from efss_transfer.model.storage_check import StorageCheck


class RcloneEngine:
    """Copies with a private rclone daemon for each run.

    Creating it raises ConfigurationError if rclone cannot run as the configured user, and logs
    how far rclone is confined on this machine.
    """

    name = "rclone"
    unguarded = UNGUARDED
    is_third_party = False
    can_detach = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._launcher = DaemonLauncher(settings)

    def run(self, request: TransferRequest, context: Context) -> Generator[Event, None, None]:
        """Copy: see the protocol `Engine`.

        `cleaned_up` deletes the remotes and ends the daemon, whatever happens in its block, and
        turns an exception into the outcome of the run. The result comes last, because rclone's
        log, and so the totals, are complete only when the daemon has ended.
        """
        session = Session(self._launcher, self._settings, request, context)
        with session.cleaned_up():
            session.boot_daemon()  # `rclone rcd`, on a socket of its own
            session.create_remote(session.source)  # POST config/create
            session.create_remote(session.destination)  # POST config/create
            transfer = session.prepare_transfer()
            yield Started(self.name, session.started)
            session.begin_writing()  # once no other transfer cleans up there
            yield from transfer.copy(session.source, session.destination)  # POST sync/copy
        yield from session.file_events()
        yield Finished(session.result(self.name))  # with what rclone returned

    def survey(
        self, request: TransferRequest, context: Context, *, measure: bool
    ) -> Generator[Event, None, Survey]:
        """Survey: see the protocol `Engine`.

        A dry run lists both sides as a copy does, one file at a time: it applies the same filters,
        knows which files exist, and needs no more memory.
        """
        # Imported with the first plan: AWS Lambda's cold start need not pay for it.
        from efss_transfer.engines.rclone.transfer.survey import Surveyor, dry_run

        surveyor = Surveyor(measure_rate=measure)
        session = Session(self._launcher, self._settings, dry_run(request), context)
        with session.cleaned_up():
            session.boot_daemon()
            session.create_remote(session.source)
            session.create_remote(session.destination)
            transfer = session.prepare_transfer()
            yield Started(self.name, session.started)
            yield from surveyor.count(transfer.copy(session.source, session.destination))
            folder = transfer.folder_of(session.source)
            measuring = surveyor.measure(session.run, folder, session.destination)
            yield from surveyor.count(measuring)
        yield from surveyor.count(session.file_events())
        return surveyor.survey(session.result(self.name))

    def list_folder(self, endpoint: Endpoint, limit: int, context: Context) -> FolderListing:
        """List one folder: see the protocol `ListingEngine`."""
        # Imported with the first listing: see `survey`.
        from efss_transfer.engines.rclone.browse.folder_lister import FolderLister
        from efss_transfer.engines.rclone.browse.one_end import one_ended

        lister = FolderLister(limit)
        session = Session(self._launcher, self._settings, one_ended(endpoint), context)
        with session.cleaned_up():
            session.boot_daemon()
            session.create_remote(session.source)  # POST config/create
            session.begin_look()
            lister.read(session.run, session.source)  # POST operations/list
        return lister.listing(session.file_events(), session.result(self.name))

    def check(self, endpoint: Endpoint, context: Context, *, write: bool) -> StorageCheck:
        """Check one storage: see the protocol `CheckingEngine`."""
        # Imported with the first check: see `survey`.
        from efss_transfer.engines.rclone.browse.one_end import one_ended
        from efss_transfer.engines.rclone.browse.storage_checker import StorageChecker

        checker = StorageChecker(endpoint.type)
        session = Session(self._launcher, self._settings, one_ended(endpoint), context)
        with session.cleaned_up():
            session.boot_daemon()
            session.create_remote(session.source)  # POST config/create
            session.begin_look()
            checker.recognise(session.ask_product)
            checker.look(session.run, session.source)  # POST operations/list
            if write:
                checker.write(session.run, session.source)  # POST operations/mkdir, rmdir
            checker.learn(session.run, session.source)  # POST operations/fsinfo, about
        return checker.check(session.result(self.name))

    def health(self) -> Health:
        """Whether rclone can be found and booted here: see the protocol `Engine`."""
        return self._launcher.health()

    def close(self) -> None:
        """End the daemon on standby."""
        self._launcher.close()
