"""Addresses that people paste, and what is said of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from efss_transfer.contract.addresses import mistake
from efss_transfer.contract.request_parser import parse
from efss_transfer.model.errors import InvalidRequest

FILES = "https://cloud.example.org/remote.php/dav/files/alice"


@pytest.mark.parametrize("vendor", ["nextcloud", "owncloud", "infinitescale"])
@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/index.php",
        "/index.php/apps/files",
        "/index.php/apps/files/files/123",
        "/apps/files/",
        "/apps/dashboard",
        "/login",
        "/index.php/login",
        "/settings/user",
        "/f/1234",
        "/remote.php/dav",
        "/remote.php/dav/",
        "/remote.php/dav/files",
    ],
)
def test_page_of_an_account_is_refused_with_the_right_form(vendor: str, path: str) -> None:
    parameters = {"url": f"https://cloud.example.org{path}", "vendor": vendor, "user": "alice"}
    assert FILES in (mistake(parameters) or "")


def test_site_below_a_folder_and_a_user_unknown() -> None:
    url = "https://example.org/cloud/index.php/apps/files"
    said = mistake({"url": url, "vendor": "nextcloud"}) or ""
    assert "https://example.org/cloud/remote.php/dav/files/USER" in said


@pytest.mark.parametrize(
    "path", ["/s/abcDEF123", "/index.php/s/abcDEF123", "/s/abcDEF123/download"]
)
def test_page_of_a_public_link_is_refused_with_the_right_form(path: str) -> None:
    parameters = {"url": f"https://cloud.example.org{path}", "vendor": "nextcloud"}
    assert "https://cloud.example.org/public.php/dav/files/abcDEF123" in (mistake(parameters) or "")


@pytest.mark.parametrize("path", ["/index.php/apps/files", "/apps/files/files", "/index.php/s/abc"])
def test_unmistakable_page_needs_no_vendor(path: str) -> None:
    assert mistake({"url": f"https://cloud.example.org{path}"}) is not None


@pytest.mark.parametrize(
    "path",
    [
        "/remote.php/dav/files/alice",
        "/remote.php/dav/files/alice/",
        "/remote.php/dav/files/alice/apps/files",
        "/remote.php/webdav",
        "/remote.php/webdav/",
        "/public.php/dav/files/abcDEF123",
        "/public.php/webdav",
        "/dav/files/alice",
        "/dav/spaces/1284d238$4c510ada",
        "/webdav",
        "/cloud/remote.php/dav/files/alice",
    ],
)
@pytest.mark.parametrize("vendor", ["nextcloud", "owncloud", "infinitescale", "other"])
def test_webdav_address_is_accepted(vendor: str, path: str) -> None:
    assert mistake({"url": f"https://cloud.example.org{path}", "vendor": vendor}) is None


@pytest.mark.parametrize("path", ["", "/", "/s/abc", "/files", "/remote.php/dav", "/login"])
def test_any_address_of_another_server_is_accepted(path: str) -> None:
    assert mistake({"url": f"https://dav.example.org{path}", "vendor": "other"}) is None


@pytest.mark.field_case("I5")
def test_request_with_such_an_address_is_refused_at_its_pointer() -> None:
    def end(url: str) -> dict[str, Any]:
        return {
            "type": "webdav",
            "parameters": {"url": url, "vendor": "nextcloud", "user": "alice"},
            "path": "a",
        }

    body = {
        "source": end("https://cloud.example.org/"),
        "destination": end("https://b.example/s/t"),
    }
    with pytest.raises(InvalidRequest) as refused:
        parse(json.dumps(body).encode())
    found = {it.pointer: (it.keyword, it.message) for it in refused.value.violations}
    assert set(found) == {"/source/parameters/url", "/destination/parameters/url"}
    assert found["/source/parameters/url"][0] == "address"
    assert FILES in found["/source/parameters/url"][1]
