"""A request to list a folder, and the listing, as frozen types.

schema/list-request.schema.json and schema/listing.schema.json describe their JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from efss_transfer.model.request import Endpoint
from efss_transfer.model.result import ErrorGroup, Failure, Json, rfc3339

DEFAULT_LIMIT = 1_000


@dataclass(frozen=True)
class ListRequest:
    """A checked request to list the content of an endpoint's path, at most `limit` entries."""

    endpoint: Endpoint
    limit: int = DEFAULT_LIMIT
    engine: str = "rclone"


@dataclass(frozen=True)
class FolderEntry:
    """A file or a folder. `size` is in bytes; None, as `modified`, if the storage has none."""

    name: str
    is_folder: bool
    size: int | None = None
    modified: datetime | None = None

    def to_json(self) -> dict[str, Json]:
        """An entry of a listing."""
        json: dict[str, Json] = {
            "name": self.name,
            "type": "folder" if self.is_folder else "file",
        }
        if self.size is not None:
            json["size"] = self.size
        if self.modified is not None:
            json["modified"] = rfc3339(self.modified)
        return json


@dataclass(frozen=True)
class FolderListing:
    """The entries of a folder, or the file at the path: folders first, then by name.

    `count` is the number of entries that the storage lists, of which `entries` are the first.
    `errors` has entries that it lists and that cannot be read. With a `failure` nothing else is
    valid.
    """

    entries: tuple[FolderEntry, ...] = ()
    count: int = 0
    errors: tuple[ErrorGroup, ...] = ()
    failure: Failure | None = None

    @property
    def is_truncated(self) -> bool:
        """Whether the storage lists more entries."""
        return self.count > len(self.entries)

    def to_json(self) -> dict[str, Json]:
        """The listing in the form of schema/listing.schema.json."""
        return {
            "entries": [entry.to_json() for entry in self.entries],
            "count": self.count,
            "truncated": self.is_truncated,
            "errors": [group.to_json() for group in self.errors],
        }
