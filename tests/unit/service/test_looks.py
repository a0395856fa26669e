"""Looks at one endpoint: answers of a bounded length, and engines that cannot look."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from efss_transfer.config.settings import Settings
from efss_transfer.engines.base import Context, Health
from efss_transfer.model.errors import CODES
from efss_transfer.model.listing import FolderEntry, FolderListing
from efss_transfer.model.request import Endpoint
from efss_transfer.model.result import ErrorGroup, Failure, Json, Sample
from efss_transfer.service.application import Service
from efss_transfer.service.http_messages import JSON, Request, Response, body_reader
from efss_transfer.service.looks import listing_response
from efss_transfer.site.site_file import Site
from support.contract import complaints

NOW = datetime(2026, 11, 22, 16, tzinfo=UTC)
ENDPOINT = {"type": "s3", "parameters": {"access_key_id": "k", "secret_access_key": "s"}}
MANY = FolderListing(
    tuple(FolderEntry(f"{n:05}", False, n, NOW) for n in range(5_000)), count=100_000
)


class OnlyCopies:
    """An engine that cannot list; it is not asked to copy either."""

    name = "rclone"
    unguarded: ClassVar[dict[str, str | None]] = {}
    is_third_party = False
    can_detach = False

    def run(self, *_: Any) -> Any:
        raise AssertionError

    def survey(self, *_: Any, **__: Any) -> Any:
        raise AssertionError

    def health(self) -> Health:
        return Health(usable=True)


class Lists(OnlyCopies):
    """An engine whose folders are all the same. It notes what it is asked."""

    def __init__(self, listing: FolderListing) -> None:
        self._listing = listing
        self.asked: list[tuple[Endpoint, int, Context]] = []

    def list_folder(self, endpoint: Endpoint, limit: int, context: Context) -> FolderListing:
        self.asked.append((endpoint, limit, context))
        return self._listing


def post(engine: Any, path: str, body: Any, settings: dict[str, str] | None = None) -> Response:
    service = Service(Settings.read(settings or {}), Site(), {"rclone": engine})
    request = Request(
        method="POST",
        path=path,
        header=lambda _: None,
        content_type=JSON,
        negotiate=lambda: JSON,
        read_body=body_reader(json.dumps(body).encode()),
        vouched=True,
    )
    return service.answer(request)


def document(response: Response) -> Json:
    assert isinstance(response.body, bytes)
    return json.loads(response.body)


def test_entries_that_do_not_fit_are_cut_off_and_counted() -> None:
    response = listing_response(MANY, 100_000)
    assert len(response.body) <= 100_000  # type: ignore[arg-type]
    shown = document(response)
    assert complaints("listing", shown) == []
    assert 900 < len(shown["entries"]) < 5_000
    assert (shown["count"], shown["truncated"]) == (100_000, True)
    smaller = listing_response(MANY, 100_000, lambda it: len(it.body) < 9_000)  # type: ignore[arg-type]
    assert 0 < len(document(smaller)["entries"]) < 150


def test_entry_and_error_fit_the_schema() -> None:
    errors = (ErrorGroup("storage_error", None, False, 1, (Sample("a", "500"),)),)
    listing = FolderListing((FolderEntry("f", True), FolderEntry("x", False)), 2, errors)
    shown = document(listing_response(listing, 1 << 20))
    assert complaints("listing", shown) == []
    assert shown["entries"] == [{"name": "f", "type": "folder"}, {"name": "x", "type": "file"}]
    assert not shown["truncated"]


@pytest.mark.parametrize("code", ["source_not_found", "authentication_failed", "incomplete"])
def test_failure_is_a_problem_with_one_sentence(code: str) -> None:
    response = listing_response(FolderListing(failure=Failure(code, "Do this.", False)), 1 << 20)
    shown = document(response)
    assert complaints("problem", shown) == []
    assert (response.status, shown["code"]) == (CODES[code].status, code)
    assert shown["detail"].endswith("Do this.")


def test_engine_that_cannot_look_is_refused() -> None:
    response = post(OnlyCopies(), "/list", {"endpoint": {**ENDPOINT, "path": "bucket"}})
    assert (response.status, document(response)["code"]) == (422, "unsupported")


def test_engine_gets_the_limit_and_a_minute() -> None:
    engine = Lists(FolderListing((FolderEntry("a", False),), 1))
    response = post(engine, "/list", {"endpoint": {**ENDPOINT, "path": "bucket/x"}, "limit": 7.0})
    assert document(response)["entries"] == [{"name": "a", "type": "file"}]
    ((endpoint, limit, context),) = engine.asked
    assert (endpoint.path, limit) == ("bucket/x", 7)
    assert isinstance(limit, int)
    assert context.end_state() is None
    assert 50 < context.deadline - time.monotonic() < 60


def test_site_with_less_time_gives_less() -> None:
    engine = Lists(FolderListing())
    post(
        engine,
        "/list",
        {"endpoint": {**ENDPOINT, "path": "bucket"}},
        {"EFSS_TRANSFER_DURATION_SECONDS": "8"},
    )
    assert engine.asked[0][2].deadline - time.monotonic() < 8
