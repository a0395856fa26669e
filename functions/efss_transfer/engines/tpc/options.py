"""Names what a request asks for that third-party copies cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from efss_transfer.model.errors import UnsupportedByEngine
from efss_transfer.model.request import Endpoint, TransferRequest
from efss_transfer.model.verification import VerifyMode

_SIGN_IN_OF_RCLONE: Final = frozenset({"sharepoint", "sharepoint-ntlm"})


def refuse_unsupported(request: TransferRequest) -> None:
    """Raise UnsupportedByEngine for a request that this engine cannot honour as a whole."""
    mistakes = [*_mistakes(request)]
    if mistakes:
        text = "; ".join(mistakes)
        raise UnsupportedByEngine(
            f"The engine `tpc` cannot do what is asked for: {text}. Leave that out, or choose "
            "another `engine`."
        )


def _mistakes(request: TransferRequest) -> Iterator[str]:
    yield from _mistakes_of_endpoint("source", request.source)
    yield from _mistakes_of_endpoint("destination", request.destination)
    options = request.options
    if options.metadata:
        yield "`options.metadata` (storages copy no metadata between themselves)"
    if options.bandwidth_limit is not None:
        yield "`options.bandwidth_limit` (the bytes do not pass through this service)"
    if options.verify is VerifyMode.DOWNLOAD:
        yield "`options.verify: download` (`checksum` compares what both storages compute)"
    if options.create_bucket:
        yield "`options.create_bucket` (WebDAV has no buckets)"


def _mistakes_of_endpoint(name: str, endpoint: Endpoint) -> Iterator[str]:
    if endpoint.type != "webdav":
        yield f"`{name}.type` must be `webdav`"
    elif str(endpoint.parameters.get("vendor", "")) in _SIGN_IN_OF_RCLONE:
        yield f"`{name}.parameters.vendor` (only rclone has the sign-in of SharePoint)"
