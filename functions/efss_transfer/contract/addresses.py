"""Recognise addresses that people copy from a browser, where a WebDAV address is needed.

Forms of the addresses: Nextcloud's administration and developer manuals (WebDAV, public shares),
ownCloud's and oCIS's documentation of their WebDAV endpoints.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

_EFSS: Final = {"nextcloud": "Nextcloud", "owncloud": "ownCloud", "infinitescale": "oCIS"}
# The page of a folder, of the sign-in, of the settings, of the overview.
_PAGE: Final = re.compile(
    r"(?P<site>.*?)(/index\.php)?/(apps|login|settings|files|f)(/.*)?|(?P<root>.*)/index\.php(/.*)?"
)
_LINK: Final = re.compile(r"(?P<site>.*?)(/index\.php)?/s/(?P<token>[^/]+)(/.*)?")
_NO_ACCOUNT: Final = re.compile(r"(?P<site>.*?)/(remote\.php/)?dav(/files|/spaces)?")
# So clear that the vendor need not be named.
_CLEAR: Final = re.compile(r".*/(index\.php/(apps/files|s/[^/]+|login)|apps/files)(/.*)?")
_WEBDAV: Final = re.compile(r"/(remote|public)\.php/|/dav/|/webdav(/|$)")


@dataclass(frozen=True)
class _Finding:
    """An error in an address, as a sentence, and the corrected address."""

    text: str
    address: str


def mistake(parameters: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the URL of a WebDAV server, and its right form; or None."""
    found = _find(parameters)
    return None if found is None else found.text


def corrected(parameters: Mapping[str, Any]) -> str | None:
    """Return the WebDAV address that the URL of an EFSS means; None if it is one already."""
    found = _find(parameters)
    return None if found is None else found.address


def _find(parameters: Mapping[str, Any]) -> _Finding | None:
    vendor = str(parameters.get("vendor", ""))
    try:
        parts = urlsplit(str(parameters.get("url", "")))
    except ValueError:
        return None  # refused elsewhere, as a host that cannot be checked
    path = parts.path.rstrip("/")
    if vendor not in _EFSS and not _CLEAR.fullmatch(path):
        return None
    name = _EFSS.get(vendor, "Nextcloud")
    origin = f"{parts.scheme}://{parts.netloc}"
    if found := _NO_ACCOUNT.fullmatch(path):
        return _account(name, origin + found["site"], parameters, "names no account")
    if _WEBDAV.search(path):
        return None
    if found := _LINK.fullmatch(path):
        form = f"{origin}{found['site']}/public.php/dav/files/{found['token']}"
        text = f"This is the page of a public link. Its WebDAV address is {form} ({name})."
        return _Finding(text, form)
    if found := _PAGE.fullmatch(path):
        site = found["site"] or found["root"] or ""
        return _account(name, origin + site, parameters, "is a page for people")
    if path.count("/") <= 1:
        return _account(name, origin + path, parameters, "is no WebDAV address")
    return None


def _account(name: str, site: str, parameters: Mapping[str, Any], what: str) -> _Finding:
    user = quote(str(parameters.get("user") or "USER"), safe="@")
    address = f"{site}/remote.php/dav/files/{user}"
    form = f"{address}, or {site}/dav/spaces/ID for a space" if name == "oCIS" else address
    text = f"The URL {what}. An address of {name} ends in the account's name: {form}."
    return _Finding(text, address)
