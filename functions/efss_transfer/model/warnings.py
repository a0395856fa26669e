"""The warnings of a result: stable codes for what is right, but weaker than hoped.

A warning changes neither the state of a transfer nor its HTTP status.
"""

from __future__ import annotations

from typing import Final

WARNINGS: Final[dict[str, str]] = {
    "time_not_kept": (
        "The storage shows another modification time for these files than the source; if it keeps "
        "no times, they are compared by less than size and time; to choose how, set "
        "`options.compare` to `size` or `checksum`."
    ),
    "partial_left": (
        "An incomplete upload could not be removed and takes up space; a later transfer to the "
        "same folder removes it, or delete it: its name begins with `.efss-transfer-` or "
        "`efss-transfer-`."
    ),
    "no_atomic_replacement": (
        "The storage cannot replace a file in one step, so an upload that breaks off can damage "
        "the old file; repeat the transfer until it succeeds, and keep another copy until then."
    ),
    "preconditions_ignored": (
        "The storage ignores preconditions, so the transfer may overwrite what another client "
        "writes at the same time; let nobody else write to the destination during a transfer."
    ),
    "listing_unchecked": (
        "The listings of the source could not be compared with a second look at it, so files may "
        "be missing; compare the number of files, and let an FTP server list with MLSD."
    ),
    "compared_by_size": (
        "These files were compared by size alone, because the storages have no checksum of the "
        "same kind for them that is right; to compare their content, set `options.verify` to "
        "`download`."
    ),
    "false_checksums": (
        "The checksums that the storage names are not those of its files, as with encryption by "
        "KMS or a shell that sees other files, so they were not used; to compare the content, set "
        "`options.verify` to `download`, or name the files' checksums in `selection.files`."
    ),
    "without_gateway": (
        "The source's WebDAV server was read without the WebDAV gateway, so a folder that it "
        "answers with a page, or as if it were empty, may lack files without an error; let the "
        "site switch the gateway on, or compare the number of files."
    ),
}
"""The message of each code: what happened, why it matters, and what to do."""
