"""deploy/README.md is consistent with the files that it describes."""

from __future__ import annotations

import re

import yaml

from support.storages import ROOT

DEPLOY = ROOT / "deploy"
README = (DEPLOY / "README.md").read_text("utf-8")
TOLD = re.sub(r"\s+", " ", README)


def test_every_named_file_exists() -> None:
    here = {file.name for file in DEPLOY.iterdir()}
    named = set(re.findall(r"`([\w.-]+\.\w+)`", README.partition("\n## ")[0]))
    assert named <= here
    mine = re.compile(r"nginx|efss-transfer\.|prometheus\.|rules\.yaml|grafana")
    assert {name for name in here if mine.search(name)} <= named
    for path in re.findall(r"\b((?:deploy|functions)/[\w.-]+\.\w+)", README):
        assert (ROOT / path).is_file(), path


def test_alerts_are_listed_with_their_severity() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus-rules.yaml").read_text("utf-8"))
    expected = {
        rule["alert"]: rule["labels"]["severity"]
        for group in rules["groups"]
        for rule in group["rules"]
    }
    assert dict(re.findall(r"^\| `(Efss\w+)` \| (\w+) \|", README, re.MULTILINE)) == expected


def test_documented_gateway_limits_match_the_config() -> None:
    conf = (DEPLOY / "nginx.conf").read_text("utf-8")
    rates = re.findall(r"rate=(\d+)r/s", conf)
    bursts = re.findall(r"burst=(\d+)", conf)
    opened = re.findall(r"limit_conn efss_\w+ (\d+);", conf)
    assert (
        f"More than {rates[0]} requests a second ({bursts[0]} at once) of a token, {rates[1]} "
        f"({bursts[1]}) of an address, or {opened[0]} and {opened[1]} open ones" in TOLD
    )


def test_unit_uses_the_path_of_the_install_commands() -> None:
    unit = (DEPLOY / "efss-transfer.service").read_text("utf-8")
    for path in (
        "/opt/efss-transfer/main.py",
        "/etc/efss-transfer/site.json",
        "/etc/efss-transfer/environment",
        "/etc/efss-transfer/credentials/archive",
    ):
        assert path in unit
        assert path in README
    sockets = re.findall(
        r"^ListenStream=(.*)$", (DEPLOY / "efss-transfer.socket").read_text(), re.M
    )
    assert sockets == ["/run/efss-transfer.sock"]
    assert sockets[0] in README
    assert f"server unix:{sockets[0]};" in (DEPLOY / "nginx.conf").read_text("utf-8")
