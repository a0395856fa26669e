"""How servers differ in what matters to a gateway, by what they can do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

_STANDARD: Final = ("getlastmodified", "getcontentlength", "resourcetype", "getetag")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a gateway relies on.

    `atomic`: a PUT that is refused leaves the old file as it was, and one that is cut off leaves
    no new file. `in_place`: one that is cut off leaves the old file cut off, so that a large one
    needs another way. `mismatch` are
    the statuses of a condition that does not hold. `vendor` is what rclone is told. `checksums`
    says whether listings have them. `oldest` is the first time in seconds that a file may have.
    """

    name: str
    vendor: str = "other"
    atomic: bool = False
    in_place: bool = False
    checksums: bool = False
    mismatch: frozenset[int] = frozenset({412})
    oldest: int | None = None

    @property
    def listing_body(self) -> bytes:
        """A PROPFIND for what a listing is made of."""
        return _propfind(_STANDARD, ("checksums", "permissions") if self.checksums else ())


QUOTA_BODY: Final = (
    b'<?xml version="1.0" encoding="utf-8"?><d:propfind xmlns:d="DAV:"><d:prop>'
    b"<d:quota-available-bytes/><d:quota-used-bytes/><d:resourcetype/></d:prop></d:propfind>"
)

PLAIN: Final = Dialect("plain")
# Observed with Nextcloud 32 on local storage: an overwrite by PUT writes into the old file.
# Chunks are put together beside it, and only then take its place, with its id and its shares.
# It refuses the times of 1970-01-02 and before, with every byte already sent.
NEXTCLOUD: Final = Dialect(
    "nextcloud", "nextcloud", atomic=True, in_place=True, checksums=True, oldest=86_401
)
OWNCLOUD: Final = Dialect("owncloud", "owncloud", atomic=True, checksums=True)
# rclone's own uploads by tus hold a file 2.7 times in memory, so it is told another vendor.
# A wrong If-Match is answered by 409 there.
OCIS: Final = Dialect(
    "ocis", "owncloud", atomic=True, checksums=True, mismatch=frozenset({409, 412})
)

_BY_VENDOR: Final = {"nextcloud": NEXTCLOUD, "owncloud": OWNCLOUD, "infinitescale": OCIS}


def of_vendor(vendor: str) -> Dialect:
    """That of the vendor which a request names, until the server has been asked."""
    if vendor in ("rclone", "fastmail"):
        return replace(PLAIN, name=vendor, vendor=vendor)
    return _BY_VENDOR.get(vendor, PLAIN)


def of_capabilities(answer: Mapping[str, Any], otherwise: Dialect) -> Dialect:
    """That of a server which answers to OCS capabilities, from what it can do."""
    try:
        capabilities = answer["ocs"]["data"]["capabilities"]
        files, dav = capabilities.get("files", {}), capabilities.get("dav", {})
        if "tus_support" in files:
            return OCIS
        if "bulkupload" in dav or "chunked_upload" in files or "theming" in capabilities:
            return NEXTCLOUD
        if "checksums" in capabilities:
            return OWNCLOUD
    except (KeyError, TypeError, AttributeError):
        pass
    return otherwise


def _propfind(standard: tuple[str, ...], extra: tuple[str, ...]) -> bytes:
    properties = "".join(f"<d:{name}/>" for name in standard)
    properties += "".join(f"<oc:{name}/>" for name in extra)
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns">'
        f"<d:prop>{properties}</d:prop></d:propfind>"
    ).encode("ascii")
