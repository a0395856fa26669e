"""Names what a request asks for that third-party copies cannot do."""

from __future__ import annotations

from collections.abc import Iterator

from efss_transfer.engines.third_party.requirements import endpoint_mistakes, refuse
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.verification import VerifyMode


def refuse_unsupported(request: TransferRequest) -> None:
    """Raise UnsupportedByEngine for a request that this engine cannot honour as a whole."""
    refuse("tpc", [*_mistakes(request)])


def _mistakes(request: TransferRequest) -> Iterator[str]:
    yield from endpoint_mistakes("source", request.source)
    yield from endpoint_mistakes("destination", request.destination)
    options = request.options
    if options.metadata:
        yield "`options.metadata` (storages copy no metadata between themselves)"
    if options.bandwidth_limit is not None:
        yield "`options.bandwidth_limit` (the bytes do not pass through this service)"
    if options.verify is VerifyMode.DOWNLOAD:
        yield "`options.verify: download` (`checksum` compares what both storages compute)"
    if options.create_bucket:
        yield "`options.create_bucket` (WebDAV has no buckets)"
