"""The address of a share, from what the sender's server says about itself."""

from __future__ import annotations

import pytest

from efss_transfer.webdav.http.connections import Origin
from efss_transfer.webdav.ocm.discovery import Peer
from efss_transfer.webdav.ocm.share import Share, ShareUnusable

HOST = "https://cloud.example.org"


def share(uri: str) -> Share:
    return Share.of({"sender": "alice@cloud.example.org", "uri": uri, "sharedSecret": "s"})


def peer(root: str | None) -> Peer:
    return Peer(Origin.of(HOST), root, None, frozenset())


@pytest.mark.parametrize(
    ("root", "uri", "url"),
    [
        ("/dav/ocm/", "7c08", f"{HOST}/dav/ocm/7c08"),
        ("/dav/ocm", "/7c08/", f"{HOST}/dav/ocm/7c08"),
        ("dav/ocm", "a b/ü", f"{HOST}/dav/ocm/a%20b/%C3%BC"),
        (f"{HOST}:8443/dav", "7c08", f"{HOST}:8443/dav/7c08"),
        ("https://dav.cloud.example.org/", "7c08", "https://dav.cloud.example.org/7c08"),
        ("/public.php/webdav", "", f"{HOST}/public.php/webdav/"),
        (None, "https://other.example.com/x", "https://other.example.com/x"),
    ],
)
def test_share_is_below_the_root_or_has_its_own_address(
    root: str | None, uri: str, url: str
) -> None:
    assert peer(root).address(share(uri)) == url


@pytest.mark.parametrize(
    "root",
    [
        *(None, "/dav/../admin/", "https://dav.example.com/", "//dav.example.com/"),
        *("http://cloud.example.org/dav", "ftp://cloud.example.org/", "/dav?secret="),
        "https://cloud.example.org@dav.example.com/",
        "https://[broken/",
    ],
)
def test_root_that_leads_elsewhere_is_refused(root: str | None) -> None:
    with pytest.raises(ShareUnusable) as refusal:
        peer(root).address(share("7c08"))
    assert refusal.value.code == "unsupported"
