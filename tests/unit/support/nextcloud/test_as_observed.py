"""The stand-in answers each question of the probe as a real Nextcloud did.

`observed.json` holds what Nextcloud 32.0.1 answered (php-fpm, PostgreSQL, nginx without request
buffering), `observed_buffered.json` what differs with request buffering (SQLite).
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Final

import pytest

from support import nextcloud
from support.nextcloud.probe import observe
from support.nextcloud.probe.run import SECTIONS
from support.nextcloud.sites import StandIn


def _read(name: str) -> dict[str, dict[str, Any]]:
    text = files("support.nextcloud.probe").joinpath(name).read_text()
    return dict(json.loads(text))


OBSERVED: Final = _read("observed.json")
BUFFERED: Final = _read("observed_buffered.json")


@pytest.mark.parametrize("section", SECTIONS)
def test_section_is_answered_as_by_nextcloud(section: str) -> None:
    # Only requests that take time can meet each other.
    cost = nextcloud.OBSERVED if section == "races" else None
    with nextcloud.serving(cost=cost) as cloud:
        assert observe(StandIn(cloud), section) == OBSERVED[section]


@pytest.mark.parametrize("section", BUFFERED)
def test_section_is_answered_as_by_nextcloud_behind_a_buffering_web_server(section: str) -> None:
    with nextcloud.serving(buffered=True) as cloud:
        assert observe(StandIn(cloud), section) == BUFFERED[section]


def test_observations_cover_every_section() -> None:
    assert list(OBSERVED) == list(SECTIONS)
    assert sum(map(len, OBSERVED.values())) > 300
