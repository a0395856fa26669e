"""What a site deploys says the same as the function does."""

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
# Each holds addresses of IPv4: the guard looks into them, and a network policy cannot.
TRANSLATED = {ip_network("64:ff9b::/96"), ip_network("2002::/16")}
NOT_PUBLIC = {*addresses._NOT_PUBLIC, *TRANSLATED}


def test_the_network_policy_closes_what_is_not_public() -> None:
    policy = yaml.safe_load((DEPLOY / "networkpolicy.yaml").read_text())
    closed: set[Network] = set()
    for rule in policy["spec"]["egress"]:
        for peer in rule["to"]:
            closed |= {ip_network(text) for text in peer.get("ipBlock", {}).get("except", ())}
    assert closed == NOT_PUBLIC


def test_so_do_the_rules_for_a_machine() -> None:
    rules = re.sub(r"#.*", "", (DEPLOY / "egress.nft").read_text())
    closed = {
        ip_network(text)
        for elements in re.findall(r"elements = \{(.*?)\}", rules, re.DOTALL)
        for text in elements.replace(",", " ").split()
    }
    # The guard listens there.
    assert closed == NOT_PUBLIC - {ip_network("127.0.0.0/8")}


def test_the_site_to_begin_with_has_only_the_mistakes_of_a_machine_that_is_not_the_sites() -> None:
    document = json.loads((DEPLOY / "site.example.json").read_text())
    mistakes = list(site_file._mistakes(document))
    assert {mistake.pointer for mistake in mistakes} == {
        "/storages/archive/parameters/access_key_id",
        "/storages/archive/parameters/secret_access_key",
    }


def test_the_command_of_the_readme_tells_what_is_missing() -> None:
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
    assert run.returncode == 1
    assert "/storages/archive/parameters/secret_access_key: The file cannot be read" in run.stderr
    assert "Traceback" not in run.stderr
