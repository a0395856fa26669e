"""What a capability says of an archiver decides whether, where and how much it is asked."""

from __future__ import annotations

from typing import Any

import pytest

from efss_transfer.webdav.archives.archiver_offer import ArchiverOffer, offered
from efss_transfer.webdav.http.connections import Origin

ORIGIN = Origin.of("https://cloud.example")
TOLD = {
    "enabled": True,
    "version": "2.0.0",
    "formats": ["tar", "zip"],
    "archiver_url": "/archiver",
    "max_num_files": "10000",
    "max_size": "1073741824",
}


def test_offer_of_a_real_server() -> None:
    assert offered([TOLD], (), ORIGIN) == ArchiverOffer("/archiver", 10_000, 1 << 30)


def test_first_usable_one_is_taken() -> None:
    archivers = [TOLD | {"formats": ["tar"]}, TOLD | {"max_num_files": 7}, TOLD]
    found = offered(archivers, (), ORIGIN)
    assert found is not None
    assert found.most_files == 7


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("archiver", "/site/archiver"),
        ("/archiver", "/site/archiver"),
        ("/a b/ä", "/site/a%20b/%C3%A4"),
        ("https://cloud.example/other/archiver", "/other/archiver"),
        ("https://CLOUD.example:443/archiver", "/archiver"),
    ],
)
def test_url_is_below_the_site_or_at_the_same_origin(url: str, target: str) -> None:
    found = offered([TOLD | {"archiver_url": url}], ("site",), ORIGIN)
    assert found is not None
    assert found.target == target


@pytest.mark.parametrize(
    "members",
    [
        {"enabled": "yes"},
        {"enabled": None},
        {"version": "1.9"},
        {"version": None},
        {"formats": "zip"},
        {"formats": ["tar"]},
        {"max_num_files": "many"},
        {"max_num_files": 0},
        {"max_size": "-1"},
        {"max_size": None},
        {"archiver_url": None},
        {"archiver_url": "http://cloud.example/archiver"},
        {"archiver_url": "https://cloud.example:8443/archiver"},
        {"archiver_url": "https://other.example/archiver"},
        {"archiver_url": "https://user@cloud.example/archiver"},
        {"archiver_url": "//other.example/archiver"},
        {"archiver_url": "/archiver?id=1"},
        {"archiver_url": "/archiver#x"},
        {"archiver_url": "/../archiver"},
        {"archiver_url": "https://[archiver"},
        {"archiver_url": "javascript:alert(1)"},
    ],
)
def test_anything_else_is_not_used(members: dict[str, Any]) -> None:
    assert offered([TOLD | members], (), ORIGIN) is None


@pytest.mark.parametrize("archivers", [None, {}, "x", [], [None], ["x"], [[]]])
def test_capability_of_another_form_offers_nothing(archivers: Any) -> None:
    assert offered(archivers, (), ORIGIN) is None
