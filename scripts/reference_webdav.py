"""What WebDAV servers do in the field, and what comes of it with and without the gateway."""

from __future__ import annotations

from typing import Final, NamedTuple


class Condition(NamedTuple):
    """Something that servers do. `reason`: why no option of rclone helps."""

    server: str
    with_gateway: str
    without: str
    reason: str


_INTRODUCTION: Final = (
    "Only the service's [WebDAV gateway](../design.md#the-webdav-gateway), which "
    "`EFSS_TRANSFER_WEBDAV_GATEWAY=0` turns off, gives the answers in the second column. The third "
    "column is what rclone's own WebDAV client does, without the gateway; the last says why that "
    "is so. Each row is a test in `tests/integration/webdav`, through the HTTP API."
)

CONDITIONS: Final = (
    Condition(
        "It writes other paths in its listings than it was asked for: a proxy strips or adds a "
        "prefix, the host, case, escapes or Unicode form differ.",
        "All files are copied; as a destination it gets only new and changed files.",
        "An error that names both paths; these files are not copied. As a destination it gets all "
        "files again in each transfer.",
        "rclone drops an entry whose path does not begin as its own URL.",
    ),
    Condition(
        "It redirects a listing.",
        "Followed as far as the site's rules allow. Where no listing follows, the error names the "
        "target.",
        "`source_not_found`.",
        "rclone follows no redirect of a PROPFIND, and has no words for it.",
    ),
    Condition(
        "A listing has an error for one file (403, 404, 423, 500, 507).",
        "A failed file, with its path and code.",
        "A failed file with its path and code if the error is in `propstat`. If it is in "
        "`response`, the transfer succeeds with 0 bytes in the file's place.",
        "rclone drops such an entry, and logs that; or reads it as a file without properties.",
    ),
    Condition(
        "A sign-in page, JSON or another document comes in place of a listing.",
        "`unsupported`, not retried. The error names the request and what came.",
        "`storage_unreachable`, tried three times; below the first folder, a transfer that "
        "succeeds without the folder's files.",
        "rclone reads any document as a listing without entries, or reports its end.",
    ),
    Condition(
        "A proxy strips the header `Depth`, so each folder is listed as if it were empty.",
        "`unsupported`, not retried, where the folder around the source is listed without it. For "
        "a whole storage whose `oc:size` is not 0 the warning `listing_unchecked`, because such "
        "sizes lag behind.",
        "A transfer that succeeds without any file.",
        "rclone takes the folder for an empty one.",
    ),
    Condition(
        "OpenCloud or ownCloud Infinite Scale still processes a file (status 425).",
        "Reading waits within the deadline; then `storage_busy` for this file. `verify` "
        "and `overwrite` know the file.",
        "`storage_busy` for a source file, if each attempt meets it. `verify` reports an uploaded "
        "file as missing. `overwrite: never` and `newer` overwrite it.",
        "rclone drops an entry with status 425, and logs that.",
    ),
    Condition(
        "It sends a file with `Content-Encoding: gzip`.",
        "Copied as stored.",
        "The first attempt fails at an object store, and the object that it leaves is taken for "
        "the file.",
        "The HTTP client of rclone unpacks gzip; the size in the listing is the packed one.",
    ),
    Condition(
        "Listings have no size, 0 or an invalid size for a file with content.",
        "Copied whole: its size is asked for by HEAD, or learned from its content.",
        "`checksum_mismatch` at the source for a file that is listed with 0 bytes or without a "
        "size: each is read after the copy, up to 1,000 of them.",
        "rclone takes a missing size for 0, and verification trusts the same listing.",
    ),
    Condition(
        "It refuses an upload over an existing file.",
        "The existing file stays.",
        "The existing file may be lost.",
        "rclone sends a DELETE after each upload that failed.",
    ),
    Condition(
        "Two transfers write one large file of a Nextcloud at the same time.",
        "The file is whole: that of one transfer, or the other.",
        "The file may have parts of both.",
        "rclone derives the folder of an upload's chunks from the file's path, so both share it.",
    ),
    Condition(
        "An upload of a large file to an OpenCloud or ownCloud Infinite Scale is cut off.",
        "The next attempt resumes it by tus. When the request ends, the service removes what is "
        "left, and the next request starts over.",
        "The next attempt starts over. What arrived takes space at the server for a day.",
        "rclone sends one PUT, or for `infinitescale` uploads by tus that hold the file in memory; "
        "an attempt knows nothing of the one before.",
    ),
    Condition(
        "It accepts Digest authentication only.",
        "`authentication_failed`, which says so, and asks for an app password, a token or Basic.",
        "`authentication_failed`, without the reason.",
        "rclone signs in with Basic or Bearer, and does not say what the server offers.",
    ),
    Condition(
        "It redirects uploads (307, 308), as dCache and EOS do.",
        "Followed without the credential, as far as the site's rules allow. `forbidden` or "
        "`unsupported` where it is not, with the target.",
        "`unsupported`, without the target.",
        "rclone follows no redirect of a PUT.",
    ),
    Condition(
        "Nextcloud refuses a modification time up to 1970-01-02.",
        "Copied without the time, with the warning `time_not_kept`.",
        "The file is sent twice: it is refused for its time, and then sent without one, with the "
        "warning `time_not_kept`.",
        "rclone sends the time of each file or of none.",
    ),
    Condition(
        "Nextcloud answers 405 to a folder whose name it reserves, such as `a.part`.",
        "`name_refused` for the files in it.",
        "`storage_error`.",
        "rclone takes 405 for a folder that exists.",
    ),
    Condition(
        "It takes two names of the source for one: `README` and `readme` on a disk that ignores "
        "case, or NFC and NFD of a name at Nextcloud.",
        "The first is copied. The second is `name_refused`, with the other's name, and nothing is "
        "overwritten.",
        "The last replaces the others, and the transfer succeeds. NFC and NFD in one folder are "
        "`name_refused`.",
        "rclone compares names before it knows which of them the server takes for one.",
    ),
    Condition(
        "A password or token is revoked, or the account is disabled, during the transfer.",
        "The transfer ends with `authentication_failed`. Only requests under way are refused, and "
        "one that confirms it.",
        "Each further file is refused. Nextcloud counts these sign-ins, and may then refuse "
        "everybody at the service's address.",
        "rclone treats each file's error by itself.",
    ),
    Condition(
        "Maintenance for some seconds.",
        "Waited for, then continued.",
        "Files that meet it fail in this attempt; those of a source may be reported for the "
        "destination.",
        "rclone retries a request only ten times, without the time that the server asks for.",
    ),
    Condition(
        "Many small files go into new folders of a Nextcloud.",
        "Each folder is made once.",
        "Requests for one folder meet each other (423, 405, 409), and a second attempt follows.",
        "rclone sends MKCOL before each file, for all files at a time.",
    ),
    Condition(
        "OpenCloud or ownCloud Infinite Scale has many small files to read.",
        "Its archiver sends up to 50 files (of 128 KiB at most) in one zip, each held against size "
        "and SHA-1 of the listing. After the first difference, all are read one by one.",
        "A request for each file, and each of them pays for the sign-in.",
        "rclone reads each file by itself.",
    ),
)


def field_conditions() -> str:
    """The table of what servers do."""
    lines = [
        "### What the gateway changes",
        "",
        _INTRODUCTION,
        "",
        "| the server | with the gateway | without it | why |",
        "|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(condition)} |" for condition in CONDITIONS]
    return "\n".join(lines)
