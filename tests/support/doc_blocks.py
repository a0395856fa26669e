"""Blocks of code in the README and in docs/; a comment before a block says how it is tested.

<!-- file: ~/bin/nightly-copy -->       the block is that file, which the reader writes
<!-- file: site.json, schema: site -->  and it is valid by that schema
<!-- schema: request -->                it is valid by that schema
<!-- part: request -->                  and with both endpoints it would be
<!-- answer, schema: result -->         the commands before it print it, numbers and times aside
<!-- output -->                         the commands before it print exactly it, numbers aside
<!-- exit: 3 -->                        these commands exit with that code
<!-- stdin: app-password key-id -->     they ask for these secrets, one after another
<!-- cron -->                           a line of a crontab
<!-- needs: --shards -->                they need that option of the command
<!-- run -->                            a Python program, which the reader runs
<!-- example: client.py -->             a part of one, or a whole one in any language, which
                                        tests/integration/client runs
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from support.storages import ROOT

README = ROOT / "README.md"
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
RECEIVED_SHARE = "received_share.py"
"""A part of a server that receives shares, which test_ocm_shares.py runs."""
EXAMPLES = ("client.py", "stream.py")
CLIENTS = (
    *("transfer.py", "copy.mjs", "node.mjs", "index.html", "copy.sh", "copy.php"),
    *("receiver.py", "checker.mjs"),
)
_GENERATED = "<!-- Made by scripts/"


def is_generated(page: Path) -> bool:
    """Whether scripts/reference or scripts/transcript writes the page."""
    return page.read_text("utf-8").startswith(_GENERATED)


PAGES = [README, *sorted(file for file in DOCS.rglob("*.md") if not is_generated(file))]
_BLOCK = re.compile(r"^(?:<!-- ([^\n]*) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code; `line` is where it begins."""

    language: str
    content: str
    marks: dict[str, str]
    line: int


def blocks(page: Path) -> list[Block]:
    """Those of a page, in order."""
    text = page.read_text("utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        marks = dict((mark + ": ").split(": ")[:2] for mark in (match[1] or "").split(", ") if mark)
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(match[2], match[3], marks, line))
    return found


def written(page: Path, folder: Path, *names: str) -> None:
    """Write these examples of a page as files into a folder."""
    shown = {block.marks.get("example"): block.content for block in blocks(page)}
    for name in names:
        (folder / name).write_text(shown[name], "utf-8")


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _BLOCK.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """What a link to a page may name behind `#`, as GitHub makes it of headings."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while (name := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(name)
    return found
