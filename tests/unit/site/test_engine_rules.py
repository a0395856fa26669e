"""Which engines a site lets copy, and where."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from efss_transfer.egress.rules import EgressRules
from efss_transfer.engines.base import Engine
from efss_transfer.site.engine_rules import check_engine
from efss_transfer.site.site_file import Site

RCLONE = cast(Engine, SimpleNamespace(name="rclone", is_third_party=False))
TPC = cast(Engine, SimpleNamespace(name="tpc", is_third_party=True))
ON = frozenset({"rclone", "tpc"})
HOSTS = [("/source/parameters/url", "eos.example.org")]


@pytest.mark.parametrize(
    ("engine", "site", "pointers"),
    [
        (RCLONE, {}, []),
        (TPC, {}, ["/engine", "/source/parameters/url"]),
        (TPC, {"engines": ON}, ["/source/parameters/url"]),
        (TPC, {"engines": ON, "egress_rules": EgressRules(hosts=("*.example.org",))}, []),
        (
            TPC,
            {"engines": ON, "egress_rules": EgressRules(hosts=("other.example.org",))},
            ["/source/parameters/url"],
        ),
        (
            TPC,
            {
                "engines": ON,
                "egress_rules": EgressRules(hosts=("eos.example.org",)),
                "egress_proxy": "http://proxy:3128",
            },
            ["/engine"],
        ),
    ],
)
def test_hosts_of_third_party_copies_must_be_named(
    engine: Engine, site: dict[str, Any], pointers: list[str]
) -> None:
    found = [*check_engine(engine, Site(**site), HOSTS)]
    assert [it.pointer for it in found] == pointers
    assert all("site" in it.message for it in found)
