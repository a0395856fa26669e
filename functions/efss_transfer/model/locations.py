"""Where transfers write, so that two of them can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from efss_transfer.model.request import Endpoint


@dataclass(frozen=True)
class StoragePath:
    """A path in a storage. `storage` is equal for endpoints that lead to the same host and port, or
    have the same parameters where these name no host.
    """

    storage: tuple[object, ...]
    path: tuple[str, ...]

    @classmethod
    def of(cls, endpoint: Endpoint) -> StoragePath:
        """The location of an endpoint."""
        hosts = sorted((it.host, it.port or 0) for it in endpoint.locations.values())
        # A hash, because parameters may be secret.
        account = hash(tuple(hosts or sorted(map(str, endpoint.parameters.items()))))
        above = unquote(urlsplit(str(endpoint.parameters.get("url", ""))).path)
        path = f"{above}/{endpoint.path}"
        return cls((endpoint.type, account), tuple(filter(None, path.split("/"))))

    def overlaps(self, other: StoragePath) -> bool:
        """Whether one of them is the other, or inside it."""
        both = min(len(self.path), len(other.path))
        return self.storage == other.storage and self.path[:both] == other.path[:both]
