"""The engine `tpc`: WebDAV storages copy between themselves, and this service directs them."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from types import MappingProxyType

from efss_transfer import __version__
from efss_transfer.config.settings import Settings
from efss_transfer.engines.base import Context, Health, Survey
from efss_transfer.model.events import Event, Finished, Started
from efss_transfer.model.request import TransferRequest


class TpcEngine:
    """Copies by HTTP third-party copy. No byte of a file passes through this service."""

    name = "tpc"
    unguarded: Mapping[str, str | None] = MappingProxyType({})
    is_third_party = True
    can_detach = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def run(self, request: TransferRequest, context: Context) -> Generator[Event, None, None]:
        """Copy: see the protocol `Engine`. Raises UnsupportedByEngine before anything is sent."""
        # Imported with the first run: a cold start on AWS Lambda need not pay for it.
        from efss_transfer.engines.tpc.options import refuse_unsupported
        from efss_transfer.engines.tpc.session import TpcSession

        refuse_unsupported(request)
        session = TpcSession(self._settings, request, context)
        with session.cleaned_up():
            session.connect()
            yield Started(self.name, session.started)
            yield from session.copy()  # PROPFIND, MKCOL, COPY, HEAD, MOVE
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

    def health(self) -> Health:
        """Always usable: it needs no program besides this service."""
        return Health(usable=True, version=__version__)
