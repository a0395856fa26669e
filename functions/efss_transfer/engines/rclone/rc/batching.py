"""What the steps of a run ask of gateways that read or send many files in one request."""

from __future__ import annotations

from efss_transfer.model.result import Side


class NoBatching:
    """A transfer whose files all have requests of their own."""

    @property
    def may_read_ahead(self) -> bool:
        """Whether the source's gateway could read files before rclone asks for them."""
        return False

    def candidates(self) -> frozenset[Side]:
        """Return the sides that may read or send files together, as far as is known by now."""
        return frozenset()

    def begin(self) -> frozenset[Side]:
        """Return the sides that read or send files together, for which destinations are asked.

        Each of these servers then gets no more requests at a time than it would get files.
        """
        return frozenset()

    def read_ahead(self, folder: str) -> None:
        """Let the source's gateway read files below a folder ahead: all of them are wanted."""
