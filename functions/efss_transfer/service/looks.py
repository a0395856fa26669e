"""Looks at one endpoint without copying: POST /list and POST /check.

A look reads as a transfer does, so it passes the same checks and limits, in a shorter time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from efss_transfer.config.settings import Settings
from efss_transfer.contract import look_parser, problems
from efss_transfer.contract.request_parser import StorageLookup
from efss_transfer.egress.rules import Egress
from efss_transfer.engines.base import CheckingEngine, Engine, ListingEngine
from efss_transfer.model.encoding import encode_json
from efss_transfer.model.errors import NotAcceptable, UnsupportedByEngine
from efss_transfer.model.listing import FolderListing, ListRequest
from efss_transfer.model.storage_check import CheckRequest, StorageCheck
from efss_transfer.service import http_messages, log_sentences, runner
from efss_transfer.service.concurrency import ConcurrencyLimit
from efss_transfer.service.http_messages import JSON, STREAMS, Request, Response
from efss_transfer.service.look_record import recorded
from efss_transfer.service.runner import RunParameters
from efss_transfer.site import policy
from efss_transfer.site.site_file import Caller, Site
from efss_transfer.site.storages import Storages

_SECONDS: Final = 60.0
# More than the rest of a listing takes.
_FRAME_BYTES: Final = 16_384
_ONLY_COPIES: Final = "This engine only copies. Choose another `engine`."


class Looks:
    """Answers requests for looks. One instance serves all of them, from many threads."""

    def __init__(
        self,
        settings: Settings,
        site: Site,
        engines: Mapping[str, Engine],
        storages: Storages,
        concurrency: ConcurrencyLimit,
        parameters: Callable[[Request, Caller, Egress, Mapping[str, str], float], RunParameters],
    ) -> None:
        """`parameters` gives the limits of a run that takes that many seconds at most."""
        self._settings = settings
        self._site = site
        self._engines = engines
        self._storages = storages
        self._concurrency = concurrency
        self._parameters = parameters

    def answer(
        self, request: Request, caller: str, permissions: Caller, log_context: Mapping[str, str]
    ) -> Response:
        """Answer POST /list or POST /check. Raises what a transfer raises before it starts."""
        act = self._check if request.path.rstrip("/") == "/check" else self._list
        return act(request, caller, permissions, log_context)

    def _list(
        self, request: Request, caller: str, permissions: Caller, log_context: Mapping[str, str]
    ) -> Response:
        asked = look_parser.parse_list(
            self._body(request), partial(self._storages.endpoint, permissions, uses=("source",))
        )
        engine = self._engines[asked.engine]
        if not isinstance(engine, ListingEngine):
            raise UnsupportedByEngine(_ONLY_COPIES)
        endpoint, egress = policy.admit_endpoint(asked.endpoint, self._site, permissions, engine)
        parameters = self._parameters(request, permissions, egress, log_context, _SECONDS)
        with self._concurrency.slot(caller, permissions.limits.concurrent_transfers):
            listing = run_listing(replace(asked, endpoint=endpoint), engine, parameters)
        return listing_response(listing, self._settings.response_bytes, request.fits)

    def _check(
        self, request: Request, caller: str, permissions: Caller, log_context: Mapping[str, str]
    ) -> Response:
        def lookup_for(write: bool) -> StorageLookup:
            uses = ("destination",) if write else ("source", "destination")
            return partial(self._storages.endpoint, permissions, uses=uses)

        asked = look_parser.parse_check(self._body(request), lookup_for)
        engine = self._engines[asked.engine]
        if not isinstance(engine, CheckingEngine):
            raise UnsupportedByEngine(_ONLY_COPIES)
        endpoint, egress = policy.admit_endpoint(asked.endpoint, self._site, permissions, engine)
        parameters = self._parameters(request, permissions, egress, log_context, _SECONDS)
        with self._concurrency.slot(caller, permissions.limits.concurrent_transfers):
            check = run_check(replace(asked, endpoint=endpoint), engine, parameters)
        if check.failure is not None:
            return http_messages.problem_response(problems.of_failure(check.failure))
        return http_messages.json_response(check.to_json())

    def _body(self, request: Request) -> bytes:
        if request.negotiate() in STREAMS:
            raise NotAcceptable(f"This is not streamed. Accept {JSON}.")
        return http_messages.read_json(request, self._settings.body_bytes)


def run_listing(
    request: ListRequest, engine: ListingEngine, parameters: RunParameters
) -> FolderListing:
    """List a folder, until the deadline or an interruption.

    Raises EngineError if the engine could not start.
    """
    with recorded("list", log_sentences.endpoint(request.endpoint), parameters) as record:
        context = runner.reading_context(request.engine, record.began, parameters)
        listing = engine.list_folder(request.endpoint, request.limit, context)
    code = None if listing.failure is None else listing.failure.code
    text = f"ended: {listing.count} entries" if code is None else f"failed: {code}"
    record.ended(text, code, entries=listing.count)
    return listing


def run_check(
    request: CheckRequest, engine: CheckingEngine, parameters: RunParameters
) -> StorageCheck:
    """Check a storage, until the deadline or an interruption.

    Raises EngineError if the engine could not start.
    """
    with recorded("check", log_sentences.endpoint(request.endpoint), parameters) as record:
        context = runner.reading_context(request.engine, record.began, parameters)
        check = engine.check(request.endpoint, context, write=request.write)
    failures = [step.failure.code for step in check.steps if step.failure is not None]
    code = check.failure.code if check.failure is not None else next(iter(failures), None)
    record.ended("passed" if code is None else f"failed: {code}", code, write=request.write)
    return check


def listing_response(
    listing: FolderListing, max_bytes: int, fits: Callable[[Response], bool] = lambda _: True
) -> Response:
    """A response with a listing, or the problem that it is.

    Its entries are cut off where the body would take more than `max_bytes`, and further until
    `fits` accepts it.
    """
    if listing.failure is not None:
        return http_messages.problem_response(problems.of_failure(listing.failure))
    left, shown = max_bytes - _FRAME_BYTES, 0
    for entry in listing.entries:
        left -= len(encode_json(entry.to_json())) + 1
        if left < 0:
            break
        shown += 1
    while not fits(response := _cut(listing, shown)) and shown:
        shown = shown * 3 // 4
    return response


def _cut(listing: FolderListing, shown: int) -> Response:
    return http_messages.json_response(replace(listing, entries=listing.entries[:shown]).to_json())
