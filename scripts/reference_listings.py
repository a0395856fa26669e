"""What is known to go wrong with servers of each type, WebDAV apart, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple


class OddListing(NamedTuple):
    """Something that servers do. `remedy`: what to do about it."""

    server: str
    answer: str
    remedy: str


_INTRODUCTION: Final = (
    "rclone leaves out entries of a listing that it cannot use, and succeeds without them. The "
    "service reads them from rclone's log, or looks in another way, in a copy, a dry run, a plan, "
    "a shard and a verification. Each row is a test in `tests/integration`, through the HTTP API."
)

ODD_LISTINGS: Final[Mapping[str, Sequence[OddListing]]] = {
    "http": (
        OddListing(
            "It refuses HEAD for a file that its index links to (401, 403, 405, 410, 500, 503).",
            "A failed file with its code, at the source. An error of 500 or above is retried.",
            "Allow HEAD for the file, or exclude it.",
        ),
        OddListing(
            "Its index links to a file that does not exist (404), such as a dangling link.",
            "Not copied, and no failure.",
            "None is needed.",
        ),
        OddListing(
            "Its index links to folders without a `/` at the end.",
            "`unsupported` for each of these folders, whose page arrives in its place.",
            "Set `no_slash`, delete the pages at the destination, and repeat the transfer.",
        ),
        OddListing(
            "Its index links to a file by a query, a session, a script, or another spelling of the "
            "host or the folder.",
            "`unsupported` for each of these files that exists, at the source: the entries of each "
            "index are compared with what rclone found.",
            "Ask for an index with plain links, or copy by another protocol.",
        ),
        OddListing(
            "It sends a page for signing in, after a redirect or at once, or an error with status "
            "200, in place of a file.",
            "`permission_denied` or `checksum_mismatch` for the file, at the source: the first "
            "10,000 files that arrive are asked for by HEAD.",
            "Ask the operator for access; the page has arrived under the file's name.",
        ),
        OddListing(
            "Its page of a folder is made or completed by a script, or is a notice without "
            "entries.",
            "`unsupported` for the folder, at the source, if the page shows it: no entries, "
            "list or link upwards, a button such as `Load more`, a count such as `1-100 of 2500`.",
            "Ask for an index of one page, or copy by another protocol.",
        ),
        OddListing(
            "Its index of a folder has further pages, by `?page=2`, `?offset=…` or `rel=next`, "
            "with entries that the first has not.",
            "`unsupported` for the folder, at the source: each index is read again after the copy.",
            "Ask for an index of one page, or copy by another protocol.",
        ),
        OddListing(
            "Its index of a folder ends early, where only the end of the connection tells its "
            "length; or it is a page for signing in, or at another path after a redirect.",
            "`storage_error` or `permission_denied` for the folder, at the source.",
            "Send the same request again; check `url`.",
        ),
        OddListing(
            "It sends a file with `Content-Encoding: gzip`.",
            "Copied as stored.",
            "None is needed.",
        ),
        OddListing(
            "It tells no size.",
            "Copied with its real size; a plan counts such files apart.",
            "None is needed.",
        ),
        OddListing(
            "It sends a file without its size, and not whole: the connection breaks, or the file "
            "is shorter than HEAD says.",
            "`storage_unreachable` or `checksum_mismatch` at the source; the copy is removed.",
            "Send the same request again.",
        ),
    ),
    "s3": (
        OddListing(
            "It ignores `encoding-type=url`, and a key has a `%` that begins no escape.",
            "`name_refused` at the source, for the file or the folder.",
            "Set `provider` to `Other`: then keys are taken as they are listed.",
        ),
        OddListing(
            "It lists the keys of a folder in another spelling (case, a leading slash, with the "
            "bucket, without the folder).",
            "`storage_error` at the source, with both spellings. As a destination it gets all "
            "files again in each transfer.",
            "Spell the folder in `path` as the server does.",
        ),
        OddListing(
            "It ignores `prefix`, and lists other folders as well.",
            "The files of the folder are copied.",
            "None is needed.",
        ),
        OddListing(
            "It answers the listing of a folder with status 200 and a page, JSON or nothing.",
            "Each file that a listing of everything has is asked for by its name. If no listing "
            "has any, `storage_error` at the source.",
            "Check `endpoint`: it may be that of a login page.",
        ),
        OddListing(
            "It answers a request for a later page of a listing so, or ends the listing there.",
            "`storage_error` at the source: after the copy the pages are counted, 997 entries "
            "each, and those of a listing that ends with one again, 1,000 each.",
            "Check `endpoint` and the proxy before the server.",
        ),
        OddListing(
            "It ignores `max-keys`, lists only so many objects, and says that these are all.",
            "`storage_error` at the source, if its folders have more than it lists of everything; "
            "with exactly 1,000 or 10,000 files the warning `listing_unchecked`.",
            "Ask the operator for the limit, or copy smaller folders.",
        ),
        OddListing(
            "It sends less of an object than it lists, with a length that fits.",
            "`checksum_mismatch` for the object, with any `verify`.",
            "Ask the operator of the storage.",
        ),
        OddListing(
            "Its ETags look like MD5 sums and are none: objects that are encrypted by KMS, or with "
            "a customer's key.",
            "Copied and compared by size, with the warning `false_checksums`, if each of two or "
            "three files that are read has another MD5, and no file of the transfer the right one. "
            "Otherwise `checksum_mismatch` for the object, which is taken for damaged.",
            "Set `verify` to `download` to compare the content. For a single object in a folder of "
            "its own, or beside objects without encryption, set the source's "
            "`server_side_encryption` to `aws:kms`.",
        ),
        OddListing(
            "Two keys are one path in a storage with folders: `a//b` and `a/b`.",
            "One is copied; the other is `name_refused`, with the first one's name.",
            "Rename one of them, or copy to an object store.",
        ),
        OddListing(
            "The key may not create buckets, or may list objects and not read them.",
            "Nothing is created, and what may be written is. What may not be read is "
            "`permission_denied`.",
            "Ask for the missing permission.",
        ),
        OddListing(
            "It refuses CopyObject, by which the time of an unchanged object is corrected.",
            "The object is skipped as unchanged, with the warning `time_not_kept`.",
            "Set `options.compare` to `size` or `checksum`.",
        ),
    ),
    "sftp": (
        OddListing(
            "It lists a file with content with 0 bytes, or without a size.",
            "`checksum_mismatch` for it, at the source: files of 0 bytes are read after the copy, "
            "up to 1,000 of them.",
            "Copy it by another protocol.",
        ),
        OddListing(
            "A folder has a named pipe.",
            "`unsupported` for it, at the source; all others are copied.",
            "Exclude the pipe.",
        ),
        OddListing(
            "Its shell never answers, so that a checksum takes forever.",
            "`unsupported` at that side, after 20 s.",
            "Set `disable_hashcheck`.",
        ),
        OddListing(
            "Its shell computes checksums of other files than SFTP shows, or none: its root is "
            "another one, as at a NAS.",
            "Copied and compared by size, with the warning `false_checksums`, if each of two or "
            "three files that are read has another checksum, and no file of the transfer the right "
            "one.",
            "Set `disable_hashcheck`.",
        ),
        OddListing(
            "A link leads to its own folder, or to one above it.",
            "The link is a failed folder, and nothing is copied twice. Other links to folders are "
            "followed.",
            "Exclude the link, or set `skip_links`.",
        ),
        OddListing(
            "It cannot rename, or the account may not.",
            "`unsupported` or `permission_denied`: an upload gets its name once it is complete.",
            "Ask for the right to rename.",
        ),
        OddListing(
            "It refuses to set the times of files.",
            "Copied without their times, with the warning `time_not_kept`.",
            "Set `set_modtime` to false, and `options.compare` to `size` or `checksum`.",
        ),
    ),
    "ftp": (
        OddListing(
            "It lists a file with content with 0 bytes.",
            "`checksum_mismatch` for it, at the source: files of 0 bytes are read after the copy, "
            "up to 1,000 of them.",
            "Copy it by another protocol.",
        ),
        OddListing(
            "It lists a part of a folder's entries, and says so at the end: Pure-FTPd lists 10,000 "
            "(`226 Output truncated to 10000 matches`).",
            "`storage_error` at the source for the folder; with MLSD if it is one of the folders "
            "of the first 5 s.",
            "Raise `LimitRecursion`, or split the folder.",
        ),
        OddListing(
            "Its MLSD lacks an entry that NLST has, and that can be entered or has a size.",
            "`storage_error` at the source for the entry, in the folders of the first 5 s.",
            "Set `disable_mlsd`.",
        ),
        OddListing(
            "It has no MLSD, and rclone cannot read its listings: owners or groups have spaces.",
            "`storage_error` at the source for each name that rclone does not see. The warning "
            "`listing_unchecked` says that the names could not be compared.",
            "Have the server offer MLSD, or list numbers in place of names.",
        ),
        OddListing(
            "It has MLSD, and rclone cannot read a line of it: a size that is no number, or a line "
            "that breaks off.",
            "`storage_error` at the source for the entry, or for its folder if the line has no "
            "name. Folders are looked at for 5 s, because a server writes such lines everywhere.",
            "Set `disable_mlsd`.",
        ),
        OddListing(
            "It hides names that begin with a dot.",
            "Copied, if the server lists them on request (`LIST -a`).",
            "None is needed.",
        ),
        OddListing(
            "Its disk ignores case, and two files differ in case alone.",
            "One is copied; the other is `name_refused`, with the first one's name.",
            "Rename one of them.",
        ),
        OddListing(
            "It cannot rename (RNFR, RNTO), or the account may not.",
            "`unsupported` or `permission_denied`: an upload gets its name once it is complete.",
            "Ask for the right to rename.",
        ),
        OddListing(
            "It refuses to set the times of files (MFMT).",
            "Copied without their times, with the warning `time_not_kept`; their sizes are "
            "compared in the end.",
            "Set `options.compare` to `size`.",
        ),
    ),
}


def odd_listings(storage_type: str) -> str:
    """The table of a storage type; empty if nothing is known of it."""
    if storage_type not in ODD_LISTINGS:
        return ""
    lines = [
        f"### What is known to go wrong with {storage_type} servers",
        "",
        _INTRODUCTION,
        "",
        "| the server | the answer | what to do |",
        "|---|---|---|",
    ]
    lines += [f"| {' | '.join(row)} |" for row in ODD_LISTINGS[storage_type]]
    return "\n".join(lines)
