"""CHANGELOG.md has the form of Keep a Changelog."""

from __future__ import annotations

import re

from support.storages import ROOT

TEXT = (ROOT / "CHANGELOG.md").read_text("utf-8")
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]


def test_the_newest_version_comes_first() -> None:
    versions = re.findall(r"^## (.*)$", TEXT, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    for version in versions[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", version), version


def test_changes_are_grouped_by_kind_in_the_usual_order() -> None:
    for release in TEXT.split("\n## ")[1:]:
        kinds = re.findall(r"^### (.*)$", release, re.MULTILINE)
        assert kinds == [kind for kind in KINDS if kind in kinds]
        assert len(kinds) == len(re.findall(r"^### ", release, re.MULTILINE)) > 0


def test_each_change_is_one_line() -> None:
    body = TEXT.partition("\n## ")[2]
    lines = [line for line in body.splitlines()[1:] if line and not line.startswith("#")]
    assert len(lines) > 50
    for line in lines:
        assert re.fullmatch(r"- .{10,200}\.", line), line
