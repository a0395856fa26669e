"""The stand-in as a site that the probe can ask."""

from __future__ import annotations

import time
from dataclasses import dataclass

from support.nextcloud.cloud import Nextcloud


@dataclass
class StandIn:
    """A `Site` of the probe; administration takes effect at once."""

    cloud: Nextcloud
    user: str = "alice"
    other_user: str = "bob"

    def __post_init__(self) -> None:
        self.cloud.add_user(self.other_user, "another-password")
        self.url = self.cloud.url
        self.account_password = self.cloud.user().password
        self.app_password = self.cloud.app_password()

    def set_quota(self, size: int | None) -> None:
        """Give the account that many bytes more than it has."""
        user = self.cloud.user()
        user.quota = None if size is None else user.tree.root.size + size

    def set_enabled(self, enabled: bool) -> None:
        """Disable the account, or enable it."""
        self.cloud.user().enabled = enabled

    def set_maintenance(self, on: bool) -> None:
        """Begin or end maintenance."""
        self.cloud.maintenance = on

    def forgive(self) -> None:
        """Forget wrong passwords."""
        self.cloud.forgive()

    def share(self, path: str, kind: str, password: str = "") -> str:
        """Make a public link; its token."""
        made = self.cloud.link(
            path, writable=kind == "write", readable=kind != "drop", password=password
        )
        return made.token

    def unshare(self, token: str) -> None:
        """Take a link back."""
        del self.cloud.links[token]

    def wait_for(self, path: str, size: int) -> None:
        """Wait until so many bytes of a PUT have come, or until it is over."""
        until = time.monotonic() + 10
        while True:
            asked = self.cloud.seen("PUT", path)
            if asked and (asked[-1].received >= size if size >= 0 else asked[-1].ended):
                return
            assert time.monotonic() < until, path
            time.sleep(0.002)
