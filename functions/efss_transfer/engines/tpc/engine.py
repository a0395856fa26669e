"""The engine `tpc`: WebDAV storages copy between themselves, and this service directs them."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import replace
from types import MappingProxyType

from efss_transfer import __version__
from efss_transfer.config.settings import Settings
from efss_transfer.engines.base import Context, Health, Survey
from efss_transfer.model.events import Event, FileDone, Finished, Progress, Started
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.result import Reason


class TpcEngine:
    """Copies by HTTP third-party copy. No byte of a file passes through this service."""

    name = "tpc"
    unguarded: Mapping[str, str | None] = MappingProxyType({})
    is_third_party = True

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
        files = size = unsized = there = 0
        largest: tuple[str, int] | None = None
        dry = replace(request, options=replace(request.options, dry_run=True))
        with closing(self.run(dry, context)) as events:
            for event in events:
                if isinstance(event, (Started, Progress)):
                    yield event
                elif isinstance(event, FileDone) and event.outcome.reason is Reason.DRY_RUN:
                    outcome = event.outcome
                    files, size = files + 1, size + (outcome.size or 0)
                    unsized += outcome.size is None
                    if largest is None or (outcome.size or 0) > largest[1]:
                        largest = outcome.path, outcome.size or 0
                elif isinstance(event, FileDone) and event.outcome.error is None:
                    there += 1
                elif isinstance(event, Finished):
                    result = event.result
        seconds = (result.finished - result.started).total_seconds()
        return Survey(result, files, size, unsized, largest, there, seconds=max(seconds, 0.001))

    def health(self) -> Health:
        """Always usable: it needs no program besides this service."""
        return Health(usable=True, version=__version__)
