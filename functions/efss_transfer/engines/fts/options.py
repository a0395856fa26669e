"""Names what a request asks for that jobs of an FTS server cannot do."""

from __future__ import annotations

from collections.abc import Iterator

from efss_transfer.engines.third_party.requirements import endpoint_mistakes, refuse
from efss_transfer.model.request import Endpoint, TransferRequest
from efss_transfer.model.verification import VerifyMode


def refuse_unsupported(request: TransferRequest) -> None:
    """Raise UnsupportedByEngine for a request that this engine cannot honour as a whole."""
    refuse("fts", [*_mistakes(request)])


def _mistakes(request: TransferRequest) -> Iterator[str]:
    for name, endpoint in (("source", request.source), ("destination", request.destination)):
        found = [*endpoint_mistakes(name, endpoint)]
        yield from found or _mistakes_of_token(name, endpoint)
    options = request.options
    if options.metadata:
        yield "`options.metadata` (FTS copies no metadata)"
    if options.bandwidth_limit is not None:
        yield "`options.bandwidth_limit` (the bytes do not pass through this service)"
    if options.transfers is not None:
        yield "`options.transfers` (FTS decides how many files it copies at a time)"
    if options.on_error == "stop":
        yield "`options.on_error: stop` (FTS goes on with the other files of a job)"
    if options.verify is VerifyMode.DOWNLOAD:
        yield "`options.verify: download` (`checksum` compares what both storages compute)"
    if options.create_bucket:
        yield "`options.create_bucket` (WebDAV has no buckets)"


def _mistakes_of_token(name: str, endpoint: Endpoint) -> Iterator[str]:
    if not endpoint.token_issuers and not endpoint.parameters.get("bearer_token"):
        yield (
            f"`{name}.parameters` must have a `bearer_token`, which FTS uses at this storage (FTS "
            "takes no password, and an X.509 proxy would have to lie on a disk)"
        )
