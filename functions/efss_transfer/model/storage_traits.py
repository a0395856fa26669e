"""Facts about each storage type that hold for any engine, in one table.

The JSON Schema describes a type's parameters (see contract/storage_types.py). This table holds
everything else: hosts, ports, what distinguishes two locations, how paths are read, and how
many files a server handles well at the same time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class StorageTraits:
    """Facts about one storage type.

    Attributes:
        default_port: The port of a host that is given without one.
        service_host: The host that the type connects to when no parameter names one. For a
            service with many hosts, one name represents all of them in a site's host lists.
        identity: The parameters that distinguish two locations, besides host and path. None:
            all parameters do, so two accounts of a service are two locations.
        has_buckets: Paths begin with a bucket, and a folder is only a prefix of names.
        has_home: A relative path begins in the user's home; a leading `/` is the server's root.
        parts_in_any_order: The parts of a file may arrive in any order, and so over several
            connections.
        parallel_files: How many files at a time the usual servers handle well; None if unknown.
        ignores_case: `README` and `readme` are one file in every such storage.
        is_served: The service itself shows it to an engine, as a WebDAV storage.

    """

    default_port: int | None = None
    service_host: str | None = None
    identity: tuple[str, ...] | None = None
    has_buckets: bool = False
    has_home: bool = False
    parts_in_any_order: bool = False
    parallel_files: int | None = None
    ignores_case: bool = False
    is_served: bool = False


# parallel_files: object stores are built for many requests. sshd refuses connections that are
# opened in bursts (MaxStartups), and FTP servers limit them. Services that count calls have no
# number here, and an engine keeps its own default.
_TRAITS: Final[Mapping[str, StorageTraits]] = {
    "webdav": StorageTraits(identity=(), parallel_files=64),
    "http": StorageTraits(identity=(), parallel_files=32),
    "urls": StorageTraits(parallel_files=32, is_served=True),
    # The user is part of the location, because a path may begin in the user's home.
    "sftp": StorageTraits(default_port=22, identity=("user",), has_home=True, parallel_files=8),
    "ftp": StorageTraits(default_port=21, identity=("user",), has_home=True),
    "smb": StorageTraits(default_port=445, identity=(), parallel_files=8, ignores_case=True),
    "hdfs": StorageTraits(identity=()),
    "seafile": StorageTraits(identity=("library",), parallel_files=8),
    "swift": StorageTraits(has_buckets=True, parallel_files=32),
    "s3": StorageTraits(
        service_host="s3.amazonaws.com",
        identity=(),
        has_buckets=True,
        parts_in_any_order=True,
        parallel_files=64,
    ),
    "google cloud storage": StorageTraits(
        service_host="storage.googleapis.com", identity=(), has_buckets=True, parallel_files=64
    ),
    "azureblob": StorageTraits(
        service_host="account.blob.core.windows.net",
        identity=("account",),
        has_buckets=True,
        parts_in_any_order=True,
        parallel_files=64,
    ),
    "azurefiles": StorageTraits(
        service_host="account.file.core.windows.net",
        identity=("account", "share_name"),
        ignores_case=True,
    ),
    "b2": StorageTraits(
        service_host="api.backblazeb2.com",
        identity=(),
        has_buckets=True,
        parts_in_any_order=True,
        parallel_files=32,
    ),
    "internetarchive": StorageTraits(
        service_host="s3.us.archive.org", identity=(), has_buckets=True
    ),
    "drive": StorageTraits(service_host="www.googleapis.com"),
    "dropbox": StorageTraits(service_host="api.dropboxapi.com", ignores_case=True),
    "onedrive": StorageTraits(service_host="graph.microsoft.com", ignores_case=True),
    "box": StorageTraits(service_host="api.box.com", ignores_case=True),
    "koofr": StorageTraits(service_host="app.koofr.net", ignores_case=True),
    "doi": StorageTraits(service_host="doi.org"),
    "ocm": StorageTraits(parallel_files=64, is_served=True),
    "filefabric": StorageTraits(ignores_case=True),
    "filescom": StorageTraits(ignores_case=True),
    "opendrive": StorageTraits(ignores_case=True),
    "sharefile": StorageTraits(ignores_case=True),
}
_UNLISTED: Final = StorageTraits()

# These also serve people in a browser, with few workers (PHP in Nextcloud and ownCloud).
_VENDORS_WITH_FEW_WORKERS: Final = frozenset({"nextcloud", "owncloud", "infinitescale"})
FEW_WORKERS: Final = 16
"""How many files or requests at a time such a server gets."""

MOST_PARALLEL_FILES: Final = max(it.parallel_files or 0 for it in _TRAITS.values())
"""The largest `parallel_files` of any type."""


def traits(storage_type: str) -> StorageTraits:
    """Facts about a storage type; defaults for a type that is not in the table."""
    return _TRAITS.get(storage_type, _UNLISTED)


def parallel_files(storage_type: str, vendor: str | None = None) -> int | None:
    """How many files at a time such a server handles well; None if unknown.

    `vendor` is the WebDAV vendor, if the request names one.
    """
    if vendor in _VENDORS_WITH_FEW_WORKERS:
        return FEW_WORKERS
    return traits(storage_type).parallel_files
