"""Which engines a site lets copy, and where."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from efss_transfer.egress.rules import EgressRules
from efss_transfer.engines.base import Engine
from efss_transfer.model.errors import UnsupportedByEngine
from efss_transfer.model.request import Endpoint, Options, TransferRequest
from efss_transfer.site.engine_rules import check_engine, refuse_detach
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


def test_engine_that_cannot_detach_is_refused_with_those_that_can() -> None:
    able, unable = (
        cast(Engine, SimpleNamespace(name=name, can_detach=name == "fts"))
        for name in ("fts", "rclone")
    )
    end = Endpoint("webdav", {}, "")
    request = TransferRequest(end, end, options=Options(detach=True))
    refuse_detach(TransferRequest(end, end), unable, {})
    refuse_detach(request, able, {})
    with pytest.raises(UnsupportedByEngine, match=r"options\.detach.*: `fts`\."):
        refuse_detach(request, unable, {"fts": able, "rclone": unable})
    with pytest.raises(UnsupportedByEngine, match=r"Leave that out\."):
        refuse_detach(request, unable, {"rclone": unable})
