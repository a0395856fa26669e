"""Parses the bodies of requests for a look at one endpoint.

A module of its own, because a cold start need not pay for it.
"""

from __future__ import annotations

from collections.abc import Callable

from efss_transfer.contract.request_parser import (
    StorageLookup,
    check_bucket,
    load_valid,
    no_storages,
    one_endpoint,
)
from efss_transfer.model.listing import DEFAULT_LIMIT, ListRequest
from efss_transfer.model.storage_check import CheckRequest


def parse_list(body: bytes, find_storage: StorageLookup = no_storages) -> ListRequest:
    """Parse the body of a request for a listing. Raises as `parse` does."""
    document = load_valid("list-request", body)
    return ListRequest(
        one_endpoint(document, find_storage),
        int(document.get("limit", DEFAULT_LIMIT)),
        document.get("engine", "rclone"),
    )


def parse_check(
    body: bytes, lookup_for: Callable[[bool], StorageLookup] = lambda _write: no_storages
) -> CheckRequest:
    """Parse the body of a request for a check. Raises as `parse` does.

    `lookup_for` returns the storage lookup, given whether something will be written.
    """
    document = load_valid("check-request", body)
    write = document.get("write", False)
    endpoint = one_endpoint(document, lookup_for(write))
    if write:
        check_bucket("endpoint", endpoint)
    return CheckRequest(endpoint, write, document.get("engine", "rclone"))
