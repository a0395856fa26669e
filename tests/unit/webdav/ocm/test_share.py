"""What a share says, and where its secret may go."""

from __future__ import annotations

import pytest

from efss_transfer.webdav.http.connections import Origin
from efss_transfer.webdav.ocm.share import Share, ShareUnusable

GIVEN = {"sender": "alice@work@cloud.example.org", "uri": "7c08", "sharedSecret": "s"}


def test_address_names_the_server_after_its_last_sign() -> None:
    assert Share.of(GIVEN).server == Origin("https", "cloud.example.org", 443)
    bare = Share.of({**GIVEN, "sender": "http://127.0.0.1:8080/"})
    assert bare.server == Origin("http", "127.0.0.1", 8080)


def test_secret_is_not_shown() -> None:
    assert "canary" not in repr(Share.of({**GIVEN, "sharedSecret": "canary"}))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"requirements": "must-exchange-token must-use-mfa"}, "unsupported"),
        ({"requirements": "must-be-new"}, "unsupported"),
        ({"permissions": "write share"}, "permission_denied"),
        ({"uri": "http://cloud.example.org/7c08"}, "unsupported"),
    ],
)
def test_share_that_may_not_be_read_is_refused(changes: dict[str, str], code: str) -> None:
    with pytest.raises(ShareUnusable) as refusal:
        Share.of(GIVEN | changes)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("uri", "url", "allowed"),
    [
        ("7c08", "https://cloud.example.org/dav", True),
        ("7c08", "https://cloud.example.org:8443/dav", True),
        ("7c08", "https://dav.cloud.example.org/dav", True),
        ("7c08", "http://cloud.example.org/dav", False),
        ("7c08", "https://evilcloud.example.org/dav", False),
        ("7c08", "https://example.org/dav", False),
        ("https://dav.example.com/7c08", "https://dav.example.com/7c08", True),
        ("https://dav.example.com/7c08", "https://dav.example.net/7c08", False),
    ],
)
def test_secret_goes_to_the_hosts_of_the_share_alone(uri: str, url: str, allowed: bool) -> None:
    assert Share.of({**GIVEN, "uri": uri}).may_have_secret(Origin.of(url)) is allowed
