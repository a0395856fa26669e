"""The engine `fts`: an FTS3 server lets WebDAV storages copy, and this service directs it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from efss_transfer import __version__
from efss_transfer.config.settings import Settings
from efss_transfer.engines.base import Context, Health, ServerProbe, Survey
from efss_transfer.model.events import Event, Finished, Started
from efss_transfer.model.request import Endpoint, FtsServer, TransferRequest

if TYPE_CHECKING:
    from efss_transfer.model.listing import FolderListing
    from efss_transfer.model.storage_check import StorageCheck


class FtsEngine:
    """Copies by jobs of an FTS3 server. No byte of a file passes through this service."""

    name = "fts"
    unguarded: Mapping[str, str | None] = MappingProxyType({})
    is_third_party = True
    can_detach = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def run(self, request: TransferRequest, context: Context) -> Generator[Event, None, None]:
        """Copy: see the protocol `Engine`. Raises UnsupportedByEngine before anything is sent."""
        # Imported with the first run: a cold start on AWS Lambda need not pay for it.
        from efss_transfer.engines.fts.options import refuse_unsupported
        from efss_transfer.engines.fts.session import FtsSession

        refuse_unsupported(request)
        session = FtsSession(self._settings, request, context)
        with session.cleaned_up():
            session.connect()
            yield Started(self.name, session.started)
            yield from session.copy()  # PROPFIND, MKCOL; POST /jobs, GET /jobs; HEAD
        yield from session.file_events()
        yield Finished(session.result(self.name))

    def survey(
        self, request: TransferRequest, context: Context, *, measure: bool
    ) -> Generator[Event, None, Survey]:
        """Survey: see the protocol `Engine`. No bytes pass through here, so no rate is measured."""
        del measure
        # Imported with the first plan, as above.
        from efss_transfer.engines.third_party.surveying import survey

        return (yield from survey(self.run, request, context))

    def list_folder(self, endpoint: Endpoint, limit: int, context: Context) -> FolderListing:
        """List a folder: see the protocol `ListingEngine`. Raises UnsupportedByEngine."""
        from efss_transfer.engines.third_party.looks.folders import list_folder
        from efss_transfer.engines.third_party.requirements import endpoint_mistakes, refuse

        refuse(self.name, [*endpoint_mistakes("endpoint", endpoint)])
        return list_folder(self._settings, endpoint, limit, context)

    def check(self, endpoint: Endpoint, context: Context, *, write: bool) -> StorageCheck:
        """Check a storage: see the protocol `CheckingEngine`. Raises UnsupportedByEngine."""
        from efss_transfer.engines.third_party.looks.checks import check
        from efss_transfer.engines.third_party.requirements import endpoint_mistakes, refuse

        refuse(self.name, [*endpoint_mistakes("endpoint", endpoint)])
        return check(self._settings, endpoint, context, write=write)

    def probe(self, server: FtsServer, context: Context) -> ServerProbe:
        """Try the server: see the protocol `ServerEngine`. Raises ConfigurationError."""
        from efss_transfer.engines.fts.probe import probe

        return probe(self._settings, server, context)

    def health(self) -> Health:
        """Always usable: it needs no program besides this service.

        The FTS server is not asked. This is for probes of liveness: a service that was restarted
        whenever a remote server is away could not copy by its other engines either.
        """
        return Health(usable=True, version=__version__)
