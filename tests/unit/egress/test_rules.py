"""Which addresses a site lets a transfer reach."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from efss_transfer.egress.rules import Egress, EgressRules
from efss_transfer.model.targets import Target

INSIDE = (ip_network("10.20.0.0/16"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("rules", "host", "address", "permitted"),
    [
        (EgressRules(), "h.example.org", "8.8.8.8", True),
        (EgressRules(), "h.example.org", "10.20.0.1", False),
        (EgressRules(networks=INSIDE), "h.example.org", "10.20.0.1", True),
        (EgressRules(networks=INSIDE), "h.example.org", "::ffff:10.20.0.1", True),
        (EgressRules(networks=INSIDE), "h.example.org", "fd00::1", True),
        (EgressRules(networks=INSIDE), "h.example.org", "10.21.0.1", False),
        (EgressRules(networks=INSIDE), "h.example.org", "8.8.8.8", True),
        (EgressRules(hosts=("*.example.org",)), "h.example.org", "8.8.8.8", True),
        (EgressRules(hosts=("*.example.org",)), "a.b.example.org", "8.8.8.8", True),
        (EgressRules(hosts=("*.example.org",)), "example.org", "8.8.8.8", False),
        (EgressRules(hosts=("*.example.org",)), "notexample.org", "8.8.8.8", False),
        (EgressRules(hosts=("*.example.org",)), "h.example.org.evil.com", "8.8.8.8", False),
        (EgressRules(hosts=("h.example.org",)), "h.example.org", "8.8.8.8", True),
        (EgressRules(hosts=("h.example.org",)), "x.h.example.org", "8.8.8.8", False),
        (EgressRules(hosts=("h.example.org",)), "h.example.org", "127.0.0.1", False),
        (EgressRules(hosts=()), "h.example.org", "8.8.8.8", False),
        # Networks that are named are open, whatever the name.
        (
            EgressRules(hosts=("h.example.org",), networks=INSIDE),
            "x.example.org",
            "10.20.0.1",
            True,
        ),
        (EgressRules(denied_hosts=("*.example.org",)), "h.example.org", "8.8.8.8", False),
        (
            EgressRules(hosts=("*.example.org",), denied_hosts=("h.example.org",)),
            "h.example.org",
            "8.8.8.8",
            False,
        ),
        (
            EgressRules(denied_networks=(ip_network("8.8.0.0/16"),)),
            "h.example.org",
            "8.8.8.8",
            False,
        ),
        (
            EgressRules(denied_networks=(ip_network("8.8.0.0/16"),)),
            "h.example.org",
            "::ffff:8.8.8.8",
            False,
        ),
        (
            EgressRules(networks=INSIDE, denied_networks=(ip_network("10.20.1.0/24"),)),
            "h.example.org",
            "10.20.1.1",
            False,
        ),
    ],
)
def test_rules_permit_or_refuse_addresses(
    rules: EgressRules, host: str, address: str, permitted: bool
) -> None:
    assert rules.permits(host, 443, ip_address(address)) is permitted


def test_site_target_is_permitted_at_its_port_only() -> None:
    rules = EgressRules(hosts=(), site_targets=frozenset({Target("s3.internal", 9000)}))
    assert rules.permits("s3.internal", 9000, ip_address("10.0.0.1"))
    assert not rules.permits("s3.internal", 22, ip_address("10.0.0.1"))
    assert not rules.permits("x.s3.internal", 9000, ip_address("10.0.0.1"))


def test_data_host_is_permitted_at_its_port_and_at_those_of_data_connections() -> None:
    rules = EgressRules(
        site_targets=frozenset({Target("ftp.internal", 21)}),
        data_hosts=frozenset({"ftp.internal"}),
    )
    inside = ip_address("10.0.0.1")
    for port in (21, 1024, 65535):
        assert rules.permits("ftp.internal", port, inside)
    for port in (20, 22, 80, 1023):
        assert not rules.permits("ftp.internal", port, inside)
    assert not rules.permits("x.ftp.internal", 1024, inside)


def test_denied_network_overrides_site_targets() -> None:
    rules = EgressRules(
        denied_networks=(ip_network("10.0.0.0/8"),),
        site_targets=frozenset({Target("s3.internal", 9000)}),
        data_hosts=frozenset({"s3.internal"}),
    )
    assert not rules.permits("s3.internal", 9000, ip_address("10.0.0.1"))
    assert not rules.permits("s3.internal", 9001, ip_address("10.0.0.1"))


def test_each_side_is_permitted_its_own_and_the_transfer_either() -> None:
    rules = {
        "source": EgressRules(site_targets=frozenset({Target("10.0.0.1", 9000)})),
        "destination": EgressRules(),
    }
    egress = Egress.of_sides(rules, "http://proxy.example.org:3128")
    inside, public = (
        ("10.0.0.1", 9000, ip_address("10.0.0.1")),
        (
            "h.example.org",
            443,
            ip_address("8.8.8.8"),
        ),
    )
    for side, may_go_inside in (("source", True), ("destination", False)):
        assert egress.of(side).permits(*inside) is may_go_inside
        assert egress.of(side).permits_unresolved(*inside[:2]) is may_go_inside
        assert egress.of(side).permits(*public)
        assert egress.of(side).proxy == egress.proxy
    assert egress.permits(*inside)
    assert egress.permits_unresolved(*inside[:2])
    assert not egress.permits("10.0.0.1", 22, ip_address("10.0.0.1"))
    assert Egress(egress.permits).of("source").permits(*inside)


def test_one_refused_address_is_enough() -> None:
    found = [ip_address("8.8.8.8"), ip_address("127.0.0.1")]
    assert EgressRules().refusal(Target("h.example.org", 443), found) is not None
    assert EgressRules().refusal(Target("h.example.org", 443), found[:1]) is None
