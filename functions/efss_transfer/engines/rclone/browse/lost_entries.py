"""Reads from rclone's log which entries of a folder's listing it passes over."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote, urlsplit

from efss_transfer.engines.rclone.log.listing_lines import ListingRoot
from efss_transfer.engines.rclone.log.passed_over import PassedOver
from efss_transfer.engines.rclone.rc.remotes import RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.model.request import Selection
from efss_transfer.model.result import Side

_LISTS: Final = "operations/list"
_AS_IN_A_COPY: Final = "sync/copy"


class LostEntries(PassedOver):
    """The entries that `operations/list` passes over: it lists as a copy does."""

    def __init__(self, run: RunContext, folder: RemotePath) -> None:
        url = folder.remote.parameters.get("url", "")
        root = ListingRoot(folder.remote.backend, folder.path, unquote(urlsplit(url).path))
        # A gateway tells of its side's entries itself.
        roots = {} if run.gateways else {Side.SOURCE: root}
        super().__init__(run.outcomes, roots, Selection(), run.redactor)

    def take_call(self, call: str, *, is_reply: bool) -> None:
        """Take the beginning or the reply of an rc call."""
        super().take_call(_AS_IN_A_COPY if call == _LISTS else call, is_reply=is_reply)
