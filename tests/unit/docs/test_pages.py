"""The README and docs/: links resolve, JSON is valid, each block is tested, nothing is stale."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from efss_transfer.cli import endpoints_file
from support.contract import complaints
from support.doc_blocks import (
    CLIENTS,
    DOCS,
    EXAMPLES,
    PAGES,
    README,
    RECEIVED_SHARE,
    REFERENCE,
    Block,
    anchors,
    blocks,
    is_generated,
    prose,
)
from support.storages import ROOT

EVERYWHERE = [
    README,
    *sorted(DOCS.rglob("*.md")),
    *(ROOT / name for name in ("deploy/README.md", "layer/README.md", "CONTRIBUTING.md")),
]

QUOTE = ("docs/design.md", "engine.py")


def name_of(file: Any) -> str:
    return str(Path(file).relative_to(ROOT))


@pytest.mark.parametrize("page", EVERYWHERE, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name_of(page)} links to {link}"
        if anchor:
            assert anchor in anchors(file), f"{name_of(page)} links to {link}"


def test_every_page_can_be_found() -> None:
    seen, next_ones = set(), [README]
    while next_ones:
        page = next_ones.pop()
        if page in seen or not page.exists():
            continue
        seen.add(page)
        for link in re.findall(r"\]\(([^)#\s]+\.md)", page.read_text("utf-8")):
            next_ones.append((page.parent / link).resolve())  # noqa: PERF401
    assert set(DOCS.rglob("*.md")) <= seen


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_block_is_left_out(page: Path) -> None:
    """Each is run or checked by its kind: a kind that nobody checks is none."""
    before: Block | None = None
    for block in blocks(page):
        where = f"{name_of(page)}:{block.line}"
        match block.language:
            case "sh":
                assert block.marks.keys() <= {"exit", "stdin", "needs"}, where
            case "text":
                assert "output" in block.marks, where
                assert before is not None, where
                assert before.language == "sh", where
            case "json":
                assert block.marks.keys() & {"schema", "part"}, where
                if "answer" in block.marks:
                    assert before is not None, where
                    assert before.language == "sh", where
            case _ if block.marks.get("example") in CLIENTS:
                continue  # tests/integration/client runs it
            case "toml" | "bash":
                assert "file" in block.marks, where
            case "python":
                is_example = block.marks.get("example") in (*EXAMPLES, RECEIVED_SHARE)
                # test_workflow.py compares the quotation.
                is_quote = (name_of(page), block.marks.get("quote")) == QUOTE
                assert "run" in block.marks or is_example or is_quote, where
            case "crontab":
                assert "cron" in block.marks, where
            case _:
                raise AssertionError(f"{where}: nobody checks {block.language or 'this'!r}")
        before = block
    assert not re.search(r"^(    |\t)\S", prose(page), re.MULTILINE), "a block by indentation"
    assert "```" not in prose(page)


@pytest.mark.parametrize("page", [README, *sorted(DOCS.rglob("*.md"))], ids=name_of)
def test_json_fits_its_schema(page: Path) -> None:
    here, there = ({"storage": name, "path": ""} for name in ("here", "there"))
    ends = {"source": here, "destination": there}
    for block in blocks(page):
        if block.language != "json":
            continue
        document = json.loads(block.content)
        if "part" in block.marks:
            name, document = block.marks["part"], ends | document
        else:
            name = block.marks["schema"]
        assert complaints(name, document) == [], f"{page}:{block.line}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_endpoints_can_be_read(page: Path, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.language == "toml":
            (tmp_path / "endpoints.toml").write_text(block.content)
            assert endpoints_file.read(tmp_path / "endpoints.toml", str).names()


def test_the_reference_is_what_it_is_made_of() -> None:
    # In a process of its own: what it says depends on the environment no more than the function.
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import json, reference; print(json.dumps(reference.pages()))",
        ],
        cwd=ROOT / "scripts",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    made = json.loads(told.stdout)
    committed = {
        file.name: file.read_text("utf-8") for file in REFERENCE.iterdir() if is_generated(file)
    }
    assert committed == made, "run scripts/reference"


def storages(document: Any) -> Iterator[dict[str, Any]]:
    """Every object of a document that names a vendor."""
    if isinstance(document, dict):
        if "url" in document and "vendor" in document:
            yield document
        document = list(document.values())
    if isinstance(document, list):
        for one in document:
            yield from storages(one)


def test_no_example_has_an_address_that_rclone_refuses() -> None:
    """rclone wants the address with the user in it of a `nextcloud`, because of its chunks."""
    documents = [
        json.loads(block.content)
        for page in [README, *sorted(DOCS.rglob("*.md"))]
        for block in blocks(page)
        if block.language == "json"
    ]
    for file in [ROOT / "deploy" / "site.example.json", *(ROOT / "schema").glob("*.json")]:
        documents.append(json.loads(file.read_text("utf-8")))  # noqa: PERF401
    found = [one for document in documents for one in storages(document)]
    assert len(found) > 5
    for one in found:
        if one["vendor"] == "nextcloud":
            assert "/dav/files/" in str(one["url"]), one


def test_the_readme_leads_here() -> None:
    assert "(docs/README.md)" in README.read_text("utf-8")


def test_every_page_of_the_reference_is_listed_in_its_index() -> None:
    index = (REFERENCE / "README.md").read_text("utf-8")
    listed = set(re.findall(r"^- \[.*?\]\((\S+)\)", index, re.MULTILINE))
    assert listed == {file.name for file in REFERENCE.glob("*.md")} - {"README.md"}


def test_the_workflow_is_drawn_for_light_and_dark() -> None:
    drawn = (DOCS / "workflow.svg").read_text("utf-8")
    assert ElementTree.fromstring(drawn).tag.endswith("svg")  # noqa: S314 - our own file
    assert "(prefers-color-scheme: dark)" in drawn
    assert "<title" in drawn
    steps = re.findall(r"^(\d)\. ", README.read_text("utf-8"), re.MULTILINE)
    assert sorted(re.findall(r'class="figure"[^>]*>(\d)<', drawn)) == steps
    # No script, and nothing from elsewhere.
    assert not re.search(r"<script|<image|href=", drawn)
