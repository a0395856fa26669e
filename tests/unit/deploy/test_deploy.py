"""The files that a site deploys are consistent with the function."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path

import yaml

from efss_transfer.egress import addresses
from efss_transfer.model.targets import Network
from efss_transfer.site import site_file
from support.storages import ROOT

DEPLOY = ROOT / "deploy"
# These prefixes embed IPv4 addresses: the guard decodes them, a network policy cannot.
TRANSLATED = {ip_network("64:ff9b::/96"), ip_network("2002::/16")}
NOT_PUBLIC = {*addresses._NOT_PUBLIC, *TRANSLATED}


def test_network_policy_blocks_non_public_networks() -> None:
    policy = yaml.safe_load((DEPLOY / "networkpolicy.yaml").read_text())
    closed: set[Network] = set()
    for rule in policy["spec"]["egress"]:
        for peer in rule["to"]:
            closed |= {ip_network(text) for text in peer.get("ipBlock", {}).get("except", ())}
    assert closed == NOT_PUBLIC


def test_nftables_rules_block_non_public_networks() -> None:
    rules = re.sub(r"#.*", "", (DEPLOY / "egress.nft").read_text())
    closed = {
        ip_network(text)
        for elements in re.findall(r"elements = \{(.*?)\}", rules, re.DOTALL)
        for text in elements.replace(",", " ").split()
    }
    # The guard listens on the loopback network.
    assert closed == NOT_PUBLIC - {ip_network("127.0.0.0/8")}


def test_example_site_lacks_only_its_secrets() -> None:
    document = json.loads((DEPLOY / "site.example.json").read_text())
    mistakes = list(site_file._mistakes(document))
    assert {mistake.pointer for mistake in mistakes} == {
        "/storages/archive/parameters/access_key_id",
        "/storages/archive/parameters/secret_access_key",
    }


def test_site_check_reports_the_missing_secrets() -> None:
    run = subprocess.run(
        [
            Path(sys.executable).with_name("efss-transfer"),
            "site",
            "check",
            DEPLOY / "site.example.json",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0
    assert "no mistake of the file" in run.stderr
    missing = "/storages/archive/parameters/secret_access_key: The file /run/secrets/archive cannot"
    assert missing in run.stderr
    assert "Traceback" not in run.stderr
