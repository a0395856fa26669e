"""Differences between servers that matter to the gateway."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

_STANDARD: Final = ("getlastmodified", "getcontentlength", "resourcetype", "getetag")


@dataclass(frozen=True, slots=True)
class Dialect:
    """Properties of a server that the gateway relies on.

    `atomic`: a refused PUT leaves the old file unchanged, and a PUT that is cut off leaves no new
    file. `in_place`: a PUT over an old file that is cut off leaves that file cut off, so a file is
    replaced in another way. `mismatch` lists the statuses of a failed precondition. `vendor` is
    the vendor that rclone gets. `checksums`: listings have checksums, and with `hashes_files` those
    that the server computed, SHA-1 and MD5. `oldest` is the earliest modification time that the
    server accepts, in seconds since 1970. `needs_length`: it must not get a body of unknown length.
    `creates_over`: it ignores If-None-Match. `versions_by_time`: it cannot replace a file when an
    older version has the same time. `ignores_times`: it may accept a PROPPATCH of a time and do
    nothing. `chunks`: it has chunked uploads. `drives`: only its Graph API tells the free space,
    and a file that is replaced makes room. `archives`: it may send files of folders in one zip.
    `archiver`: it may have an archiver, which sends files by their ids in one zip.
    `trees`: it lists to any depth at once.
    `version` is the major one that the server itself tells, None if it does not.
    `hashes_passwords`: each request that signs in with a
    password costs the server a hash of it, and with `hashes_tokens` one with an app password too.
    """

    name: str
    vendor: str = "other"
    atomic: bool = False
    in_place: bool = False
    checksums: bool = False
    hashes_files: bool = False
    mismatch: frozenset[int] = frozenset({412})
    oldest: int | None = None
    needs_length: bool = False
    creates_over: bool = False
    versions_by_time: bool = False
    ignores_times: bool = False
    chunks: bool = False
    drives: bool = False
    archives: bool = False
    archiver: bool = False
    trees: bool = False
    version: int | None = None
    hashes_passwords: bool = False
    hashes_tokens: bool = False

    @property
    def listing_body(self) -> bytes:
        """PROPFIND body for a listing."""
        extra = ("checksums", "permissions") if self.checksums else ()
        return _propfind(_STANDARD, (*extra, "fileid") if self.archiver else extra)

    @property
    def tree_body(self) -> bytes:
        """PROPFIND body for a whole tree, with the sizes of folders."""
        return _propfind(_STANDARD, ("checksums", "permissions", "size"))

    def accepts_time(self, modified: str) -> bool:
        """Return whether a file may have a modification time, in seconds since 1970."""
        return self.oldest is None or (modified.isdigit() and int(modified) >= self.oldest)


QUOTA_BODY: Final = (
    b'<?xml version="1.0" encoding="utf-8"?><d:propfind xmlns:d="DAV:"><d:prop>'
    b"<d:quota-available-bytes/><d:quota-used-bytes/><d:resourcetype/></d:prop></d:propfind>"
)

PLAIN: Final = Dialect("plain")
# Observed with Nextcloud 32 on local storage: a PUT over a file writes into the old file.
# Chunks are assembled beside it and only then replace it, keeping its id and its shares.
# Behind php-fpm a body of unknown length is stored as an empty file, with 201.
# It refuses times up to 1970-01-02, and only after every byte was sent. A request costs it 480 ms
# of processor time with the account's password, and 40 ms with an app password.
NEXTCLOUD: Final = Dialect(
    "nextcloud",
    "nextcloud",
    atomic=True,
    in_place=True,
    checksums=True,
    oldest=86_401,
    needs_length=True,
    chunks=True,
    archives=True,
    trees=True,
    hashes_passwords=True,
)
OWNCLOUD: Final = Dialect(
    "owncloud",
    "owncloud",
    atomic=True,
    checksums=True,
    hashes_files=True,
    needs_length=True,
    chunks=True,
)
# rclone's own uploads by tus hold a file 2.7 times in memory, so rclone gets another vendor. The
# gateway's are streamed: see `webdav/tus`.
# If-None-Match is ignored there: a new file is sent over one that appeared meanwhile. The third
# upload of a file with one time is answered by 500, as is every later one: the version that it
# would make exists. But a time may have nanoseconds, which listings do not show. A PROPPATCH of a
# time is answered by 200, and the time stays.
# A wrong If-Match is answered by 409 there, and a body of unknown length by 400. A request costs it
# 110 to 190 ms of processor time with a password, 250 to 290 ms with an app token, and 17 to 37 ms
# with a bearer token.
OCIS: Final = Dialect(
    "ocis",
    "owncloud",
    atomic=True,
    checksums=True,
    hashes_files=True,
    mismatch=frozenset({409, 412}),
    needs_length=True,
    creates_over=True,
    versions_by_time=True,
    ignores_times=True,
    drives=True,
    archiver=True,
    hashes_passwords=True,
    hashes_tokens=True,
)

_BY_VENDOR: Final = {"nextcloud": NEXTCLOUD, "owncloud": OWNCLOUD, "infinitescale": OCIS}


def of_vendor(vendor: str) -> Dialect:
    """Return the dialect of the vendor that the request names."""
    if vendor in ("rclone", "fastmail"):
        return replace(PLAIN, name=vendor, vendor=vendor)
    return _BY_VENDOR.get(vendor, PLAIN)


def _propfind(standard: tuple[str, ...], extra: tuple[str, ...]) -> bytes:
    properties = "".join(f"<d:{name}/>" for name in standard)
    properties += "".join(f"<oc:{name}/>" for name in extra)
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<d:propfind xmlns:d="DAV:" xmlns:oc="http://owncloud.org/ns">'
        f"<d:prop>{properties}</d:prop></d:propfind>"
    ).encode("ascii")
