"""Reasons why the body of a listing is not to be believed."""

from __future__ import annotations

from typing import Final, Literal

SHOWN: Final = 80
"""How many characters of a server's own words are shown."""

Kind = Literal["html", "json", "xml", "other", "empty"]


class BadListing(Exception):
    """Body that is not a reliable listing. The message says what arrived instead."""


class NotMultistatus(BadListing):
    """Body of another kind: a login page, JSON, another XML document, or nothing."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(detail)
        self.kind: Kind = kind


class Truncated(BadListing):
    """Body that ends before the listing does."""

    def __init__(self) -> None:
        super().__init__("the listing is incomplete: the body ended early")


class Malformed(BadListing):
    """Multistatus that is not well-formed, or lacks a required part of an entry."""


class CutOff(BadListing):
    """Listing of which the server itself says that entries are missing."""

    def __init__(self, said: str) -> None:
        super().__init__(f"the server says that this listing is not complete: {said[:SHOWN]}")


class ListingTooLarge(BadListing):
    """Listing with a part above a limit that no honest server approaches."""
