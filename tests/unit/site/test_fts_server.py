"""The site's FTS server: whose token is used, and whether it may be reached."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from efss_transfer.egress.rules import EgressRules
from efss_transfer.model.errors import ConfigurationError, InvalidRequest, UnsupportedByEngine
from efss_transfer.model.request import Endpoint, FtsServer, TransferRequest
from efss_transfer.site.fts_server import SiteFts, completed, rules_and_refusal

DAV = Endpoint("webdav", {"url": "https://dav.example.org/"}, "data")
URL = "https://fts.example.org:8446"


def request(engine: str = "fts", fts: FtsServer | None = None) -> TransferRequest:
    return TransferRequest(DAV, DAV, engine=engine, fts=fts)


def test_token_of_the_caller_comes_before_the_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTS_TOKEN", "of the site")
    site = SiteFts(URL, "/ca.pem", {"env": "FTS_TOKEN"})
    found = completed(request(), site).fts
    assert found == FtsServer(URL, "/ca.pem", "of the site")
    assert "of the site" not in repr(found)
    asked = FtsServer(token="of the caller", unmanaged_tokens=True)
    found = completed(request(fts=asked), site).fts
    assert found == FtsServer(URL, "/ca.pem", "of the caller", unmanaged_tokens=True)


def test_request_without_any_token_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        completed(request(), SiteFts(URL))
    assert [it.pointer for it in refused.value.violations] == ["/fts/token"]


def test_token_of_the_site_that_is_gone_is_the_operators_to_mend() -> None:
    with pytest.raises(ConfigurationError, match="the server log") as refused:
        completed(request(), SiteFts(URL, token={"env": "NO_SUCH_TOKEN"}))
    assert "NO_SUCH_TOKEN" not in str(refused.value)


def test_other_engines_have_no_use_for_it() -> None:
    assert completed(request("rclone"), SiteFts(URL)).fts is None
    with pytest.raises(UnsupportedByEngine, match="`fts`"):
        completed(request("rclone", FtsServer(token="x")), SiteFts(URL))


@pytest.mark.parametrize(
    ("rules", "is_refused"),
    [
        ({}, False),
        ({"hosts": ("other.example.org",)}, False),
        ({"denied_hosts": ("fts.example.org",)}, True),
    ],
)
def test_server_of_the_site_is_reached_unless_it_is_denied(
    rules: dict[str, Any], is_refused: bool
) -> None:
    found, reason = rules_and_refusal(
        SiteFts(URL), EgressRules(**rules), lambda _: [ip_address("10.0.0.1")]
    )
    assert (reason is not None) == is_refused
    assert found.permits("fts.example.org", 8446, ip_address("10.0.0.1")) != is_refused
    assert not found.permits("fts.example.org", 8447, ip_address("10.0.0.1"))
