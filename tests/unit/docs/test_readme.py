"""The README's length, its first commands, and its numbers."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from efss_transfer.contract.schemas import schema
from support.doc_blocks import DOCS, README
from support.storages import ROOT

TEXT = README.read_text("utf-8")


def test_it_has_at_most_150_lines() -> None:
    assert len(TEXT.splitlines()) <= 150


def test_the_two_commands_are_the_first_thing() -> None:
    first = re.search(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert first is not None
    assert re.findall(r"^(scripts/\w+)", first[1], re.MULTILINE) == ["scripts/demo", "scripts/test"]


@pytest.mark.parametrize(
    "name",
    ["demo", "test", "run", "check", "bench", "setup", "lock", "build-layer", "release", "sbom"],
)
def test_the_scripts_that_are_named_are_there(name: str) -> None:
    assert (ROOT / "scripts" / name).stat().st_mode & 0o111


def decisions() -> Counter[str]:
    file = ROOT / "functions/efss_transfer/engines/rclone/rc/options.json"
    decided: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return Counter(
        option["decision"]
        for backend in decided["backends"].values()
        for option in backend["options"].values()
    )


def test_the_storages_are_counted_as_they_are() -> None:
    types = schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"]
    named = re.search(r"\[(\d+) more\]\(docs/reference/storages.md\)", TEXT)
    assert named is not None
    # Besides WebDAV, S3, SFTP, Seafile and Swift.
    assert int(named[1]) == len(types) - 5
    assert f"{len(types)} types of storage" in (ROOT / "CHANGELOG.md").read_text("utf-8")
    listed = (DOCS / "reference" / "storages.md").read_text("utf-8")
    assert re.findall(r"^## (.*)$", listed, re.MULTILINE) == types


def test_the_options_are_counted_as_they_are() -> None:
    counts = decisions()
    for page in (README, DOCS / "design.md", DOCS / "reference" / "storages.md"):
        told = re.sub(r"\s+", " ", page.read_text("utf-8"))
        assert re.search(rf"\b968 options,? {counts['allow']} are allowed", told), page
    storages = (DOCS / "reference" / "storages.md").read_text("utf-8")
    assert f"{counts['allow']} are allowed and {counts['refuse']} refused" in storages
