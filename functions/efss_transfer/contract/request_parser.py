"""From a body to a frozen TransferRequest: JSON, then the schema, all errors at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from efss_transfer.contract import storage_types
from efss_transfer.contract.validation import MOST_VIOLATIONS, load, violations
from efss_transfer.model.errors import Forbidden, InvalidRequest, Violation
from efss_transfer.model.request import Endpoint, ListedFile, Options, Selection, TransferRequest
from efss_transfer.model.result import Shard, VerifyMode

Named = Callable[[str, Mapping[str, Any]], Endpoint]
"""Makes the endpoint of a storage that the site has configured, from the side's name and
what the request says of it. Raises Forbidden or InvalidRequest.
"""


@dataclass(frozen=True)
class PlanOptions:
    """What a plan is to reckon with, in bytes and files a second, and seconds for one
    invocation; None where the caller does not say.
    """

    rate: float | None = None
    files_per_second: float | None = None
    seconds: float | None = None


def no_storages(side: str, _: Mapping[str, Any]) -> Endpoint:
    """The storages of a site that has none. Raises Forbidden."""
    raise Forbidden([Violation(f"/{side}/storage", "policy", "There is no such storage here.")])


def parse(body: bytes, named: Named = no_storages) -> TransferRequest:
    """The request that `body` holds.

    Raises InvalidJson or InvalidRequest, the latter with every violation of the schema;
    and what `named` raises for a storage of the site's.
    """
    return _request(_checked("request", body), named)


def parse_plan(body: bytes, named: Named = no_storages) -> tuple[TransferRequest, PlanOptions]:
    """The request that is to be planned, and what to reckon with. Raises as `parse` does."""
    document = _checked("plan-request", body)
    return _request(document, named), PlanOptions(**document.get("plan", {}))


def _checked(name: str, body: bytes) -> dict[str, Any]:
    document = load(body)
    found, omitted = violations(name, document)
    if found:
        raise InvalidRequest(found, omitted)
    fitting: dict[str, Any] = document
    return fitting


def _request(document: Mapping[str, Any], named: Named) -> TransferRequest:
    selection = _selection(document.get("selection", {}))
    refused: list[Violation] = []
    ends: dict[str, Endpoint] = {}
    for side in ("source", "destination"):
        try:
            ends[side] = _endpoint(side, document[side], named)
        except Forbidden as error:
            refused += error.violations
    if refused:
        raise Forbidden(refused)
    return TransferRequest(
        source=ends["source"],
        destination=ends["destination"],
        selection=selection,
        options=_options(document.get("options", {})),
        engine=document.get("engine", "rclone"),
        id=document.get("id"),
        notify=document.get("notify", {}).get("url"),
    )


def _endpoint(side: str, document: Mapping[str, Any], named: Named) -> Endpoint:
    if "storage" in document:
        return named(side, document)
    return storage_types.endpoint(
        document["type"], document["parameters"], document.get("path", "")
    )


def _options(document: Mapping[str, Any]) -> Options:
    return Options(**{**document, "verify": VerifyMode(document.get("verify", "none"))})


def _selection(document: Mapping[str, Any]) -> Selection:
    """Which files to copy. Raises InvalidRequest for what a schema cannot tell."""
    wrong: list[Violation] = []
    times: dict[str, datetime | None] = {}
    for name in ("modified_after", "modified_before"):
        times[name] = None
        try:
            times[name] = _time(document.get(name))
        except (ValueError, OverflowError):
            wrong.append(Violation(f"/selection/{name}", "format", "There is no such time."))
    for low, high in (("min_size", "max_size"), ("modified_after", "modified_before")):
        bounds: dict[str, Any] = {**document, **times}
        least, most = bounds.get(low), bounds.get(high)
        if least is not None and most is not None and least > most:
            wrong.append(Violation(f"/selection/{high}", "order", f"Must not be below {low}."))
    shard = _shard(document["shard"]) if "shard" in document else None
    if shard is not None and shard.index >= shard.count:
        wrong.append(Violation("/selection/shard/index", "order", "Must be below count."))
    listed = [_listed(entry) for entry in document["files"]] if "files" in document else None
    often = Counter(file.path for file in listed or ())
    for index, file in enumerate(listed or ()):
        if often[file.path] > 1:
            pointer = f"/selection/files/{index}/path"
            wrong.append(Violation(pointer, "distinct", "This path stands in the list twice."))
    if wrong:
        raise InvalidRequest(wrong[:MOST_VIOLATIONS], max(0, len(wrong) - MOST_VIOLATIONS))
    return Selection(
        include=tuple(document.get("include", ())),
        exclude=tuple(document.get("exclude", ())),
        files=None if listed is None else tuple(listed),
        min_size=document.get("min_size"),
        max_size=document.get("max_size"),
        **times,
        shard=shard,
    )


def _listed(document: Mapping[str, Any]) -> ListedFile:
    kind, _, checksum = document.get("checksum", "").partition(":")
    return ListedFile(
        document["path"], document.get("size"), kind or None, checksum.lower() or None
    )


def _shard(document: Mapping[str, Any]) -> Shard:
    # 8.0 is an integer to JSON Schema.
    return Shard(int(document["index"]), int(document["count"]))


def _time(text: str | None) -> datetime | None:
    """A time in UTC. Raises ValueError or OverflowError for one that no calendar has."""
    return None if text is None else datetime.fromisoformat(text.upper()).astimezone(UTC)
