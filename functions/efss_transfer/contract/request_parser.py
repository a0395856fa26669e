"""Parses a request body: JSON, then the schema, then a frozen TransferRequest.

Errors are collected, so that a caller sees all of them at once.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from efss_transfer.contract import addresses, storage_types
from efss_transfer.contract.listed_urls import check_paths
from efss_transfer.contract.validation import MAX_VIOLATIONS, load, message_at, violations
from efss_transfer.model.errors import Forbidden, InvalidRequest, Violation
from efss_transfer.model.request import (
    Endpoint,
    FtsServer,
    ListedFile,
    Options,
    Selection,
    TransferRequest,
)
from efss_transfer.model.result import Shard
from efss_transfer.model.storage_traits import traits
from efss_transfer.model.verification import VerifyMode

_PATH_WITH_BUCKET: Final = "/properties/destination/else/then/properties/path"
_NOTIFY_AND_DETACH: Final = (
    "Nothing can be notified of the end of a transfer that goes on without this service: leave out "
    "`notify` or `options.detach`."
)
StorageLookup = Callable[[str, Mapping[str, Any]], Endpoint]
"""Builds the endpoint of a storage from the site file, given the side's name and that side of
the request. Raises Forbidden or InvalidRequest.
"""


@dataclass(frozen=True)
class PlanOptions:
    """A caller's assumptions for a plan; None where the caller gives none.

    `rate` is in bytes a second, `seconds` is the time for one invocation.
    """

    rate: float | None = None
    files_per_second: float | None = None
    seconds: float | None = None


def no_storages(side: str, _: Mapping[str, Any]) -> Endpoint:
    """The storage lookup of a site without storages. Raises Forbidden."""
    raise Forbidden(
        [Violation(f"/{side}/storage", "policy", "This site has no storage of this name.")]
    )


def parse(body: bytes, find_storage: StorageLookup = no_storages) -> TransferRequest:
    """Parse a request body.

    Raises InvalidJson; InvalidRequest with every violation; and what `find_storage` raises.
    """
    return _request(load_valid("request", body), find_storage)


def parse_plan(
    body: bytes, find_storage: StorageLookup = no_storages
) -> tuple[TransferRequest, PlanOptions]:
    """Parse the body of a request for a plan. Raises as `parse` does."""
    document = load_valid("plan-request", body)
    return _request(document, find_storage), PlanOptions(**document.get("plan", {}))


def one_endpoint(document: Mapping[str, Any], find_storage: StorageLookup) -> Endpoint:
    """The endpoint of a request that has one. Raises as `parse` does."""
    _check_addresses(document, ("endpoint",))
    endpoint = _endpoint("endpoint", document["endpoint"], find_storage)
    check_paths("endpoint", endpoint)
    return endpoint


def load_valid(schema_name: str, body: bytes) -> dict[str, Any]:
    """Load a document that fits a schema. Raises InvalidJson and InvalidRequest."""
    document = load(body)
    found, has_more = violations(schema_name, document)
    if found:
        found = [_browser_address(violation, document) or violation for violation in found]
        raise InvalidRequest(found, has_more=has_more)
    valid: dict[str, Any] = document
    return valid


def _request(document: Mapping[str, Any], find_storage: StorageLookup) -> TransferRequest:
    selection = _selection(document.get("selection", {}))
    _check_addresses(document, ("source", "destination"))
    refused: list[Violation] = []
    endpoints: dict[str, Endpoint] = {}
    for side in ("source", "destination"):
        try:
            endpoints[side] = _endpoint(side, document[side], find_storage)
        except Forbidden as error:
            refused += error.violations
    if refused:
        raise Forbidden(refused)
    check_bucket("destination", endpoints["destination"])
    check_paths("source", endpoints["source"])
    options = _options(document.get("options", {}))
    if options.detach and "notify" in document:
        raise InvalidRequest([Violation("/notify", "order", _NOTIFY_AND_DETACH)])
    return TransferRequest(
        source=endpoints["source"],
        destination=endpoints["destination"],
        selection=selection,
        options=options,
        engine=document.get("engine", "rclone"),
        id=document.get("id"),
        notify=document.get("notify", {}).get("url"),
        fts=FtsServer(**document["fts"]) if "fts" in document else None,
    )


def check_bucket(side: str, endpoint: Endpoint) -> None:
    """Refuse a path to write to that names no bucket. Raises InvalidRequest."""
    if traits(endpoint.type).has_buckets and not endpoint.path.strip("/"):
        # The schema cannot know the type and the folder of a storage of the site.
        text = message_at(_PATH_WITH_BUCKET, "pattern")
        raise InvalidRequest([Violation(f"/{side}/path", "pattern", text)])


def _check_addresses(document: Mapping[str, Any], sides: Iterable[str]) -> None:
    """Refuse addresses of an EFSS that are not those of its WebDAV. Raises InvalidRequest."""
    wrong = [
        Violation(f"/{side}/parameters/url", "address", text)
        for side in sides
        if document[side].get("type") == "webdav"
        and (text := addresses.mistake(document[side]["parameters"])) is not None
    ]
    if wrong:
        raise InvalidRequest(wrong)


def _browser_address(violation: Violation, document: Any) -> Violation | None:
    """Say of a URL with a query, as a browser shows the page of a folder, what it should be."""
    side, _, member = violation.pointer.removeprefix("/").partition("/")
    if (member, violation.keyword) != ("parameters/url", "pattern"):
        return None
    parameters = document[side]["parameters"]
    url = re.split(r"[?#]", str(parameters["url"]))[0]
    if document[side].get("type") != "webdav" or violations("request", url, part="/$defs/url")[0]:
        return None
    text = addresses.mistake({**parameters, "url": url})
    return None if text is None else Violation(violation.pointer, "address", text)


def _endpoint(side: str, document: Mapping[str, Any], find_storage: StorageLookup) -> Endpoint:
    if "storage" in document:
        return find_storage(side, document)
    return storage_types.make_endpoint(
        document["type"], document["parameters"], document.get("path", "")
    )


def _options(document: Mapping[str, Any]) -> Options:
    return Options(**{**document, "verify": VerifyMode(document.get("verify", "none"))})


def _selection(document: Mapping[str, Any]) -> Selection:
    """Parse the selection. Raises InvalidRequest for what a schema cannot express."""
    wrong: list[Violation] = []
    times: dict[str, datetime | None] = {}
    for name in ("modified_after", "modified_before"):
        times[name] = None
        try:
            times[name] = _time(document.get(name))
        except (ValueError, OverflowError):
            text = message_at(f"/properties/selection/properties/{name}", "format")
            wrong.append(Violation(f"/selection/{name}", "format", text))
    for low, high in (("min_size", "max_size"), ("modified_after", "modified_before")):
        bounds: dict[str, Any] = {**document, **times}
        lowest, highest = bounds.get(low), bounds.get(high)
        if lowest is not None and highest is not None and lowest > highest:
            wrong.append(Violation(f"/selection/{high}", "order", f"Must not be below {low}."))
    shard = _shard(document["shard"]) if "shard" in document else None
    if shard is not None and shard.index >= shard.count:
        wrong.append(Violation("/selection/shard/index", "order", "Must be below count."))
    files = [_listed_file(entry) for entry in document["files"]] if "files" in document else None
    occurrences = Counter(file.path for file in files or ())
    for index, file in enumerate(files or ()):
        if occurrences[file.path] > 1:
            pointer = f"/selection/files/{index}/path"
            wrong.append(Violation(pointer, "distinct", "This path is listed more than once."))
    if wrong:
        raise InvalidRequest(wrong[:MAX_VIOLATIONS], has_more=len(wrong) > MAX_VIOLATIONS)
    return Selection(
        include=tuple(document.get("include", ())),
        exclude=tuple(document.get("exclude", ())),
        files=None if files is None else tuple(files),
        min_size=document.get("min_size"),
        max_size=document.get("max_size"),
        **times,
        shard=shard,
    )


def _listed_file(document: Mapping[str, Any]) -> ListedFile:
    algorithm, _, checksum = document.get("checksum", "").partition(":")
    return ListedFile(
        document["path"], document.get("size"), algorithm or None, checksum.lower() or None
    )


def _shard(document: Mapping[str, Any]) -> Shard:
    # JSON Schema counts 8.0 as an integer.
    return Shard(int(document["index"]), int(document["count"]))


def _time(text: str | None) -> datetime | None:
    """Parse a time, in UTC. Raises ValueError or OverflowError if the calendar has no such time."""
    return None if text is None else datetime.fromisoformat(text.upper()).astimezone(UTC)
