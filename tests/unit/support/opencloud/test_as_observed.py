"""The stand-in of OpenCloud answers as the real one did."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import opencloud
from support.opencloud import OpenCloud, probe
from support.opencloud.probe import Client

OBSERVED = Path(probe.__file__).with_name("observed.json")


@pytest.fixture(scope="module")
def cloud() -> Iterator[OpenCloud]:
    with opencloud.serving() as running:
        yield running


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_answers_are_those_of_the_real_one(cloud: OpenCloud) -> None:
    poor = cloud.add_user("quotauser", "quota-pass")
    poor.space.quota = 5000
    bad = [None, "Bearer x", basic("alice", "x"), f"Bearer {cloud.token(-1)}"]
    told = probe.ask_all(
        Client(cloud.url, "alice", f"Bearer {cloud.token()}"),
        bad,
        Client(cloud.url, "quotauser", basic("quotauser", "quota-pass")),
    )
    observed = json.loads(OBSERVED.read_text())
    different = {
        (section, question): (answer, told[section].get(question))
        for section, answers in observed.items()
        for question, answer in answers.items()
        if told[section].get(question) != answer
    }
    assert different == {}
    assert told.keys() == observed.keys()
