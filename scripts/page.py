"""Builds the browser page: HTML, style sheet and script in one file. See scripts/page."""

from __future__ import annotations

import html as markup
import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "functions" / "page"
TARGET = ROOT / "functions" / "efss_transfer" / "service" / "page.html"


def bundle(packages: Path, file: Path) -> str:
    """A script or style sheet with all its imports, minified."""
    [esbuild] = sorted((packages / "@esbuild").glob("*/bin/esbuild"))
    run = subprocess.run(
        [
            *(esbuild, file, "--bundle", "--minify", "--charset=utf8", "--target=es2022,chrome109"),
            *("--format=esm", "--legal-comments=none", "--log-level=warning"),
        ],
        env={"NODE_PATH": str(packages)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return run.stdout.strip()


def text_of(texts: Any, name: re.Match[str]) -> str:
    """The text that the HTML names."""
    for part in name[1].split("."):
        texts = texts[part]
    return markup.escape(texts)


def page(packages: Path) -> str:
    """The HTML of the page."""
    texts = json.loads((SOURCES / "texts" / "en.json").read_text("utf-8"))
    html = (SOURCES / "page.html").read_text("utf-8")
    html = re.sub(r"{{([\w.]+)}}", partial(text_of, texts), html)
    style, script = (bundle(packages, SOURCES / name) for name in ("page.css", "main.js"))
    # The script is embedded in an HTML script element.
    assert "</script" not in script.lower()
    assert "<!--" not in script
    notice = (SOURCES / "NOTICE.txt").read_text("utf-8")
    html = html.replace("/*style*/", style).replace("/*script*/", script)
    return f"{html.rstrip()}\n<!--\n{notice}-->\n"


def main() -> int:
    """Write the page, or with --check compare it; returns 1 if it is out of date."""
    made = page(Path(sys.argv[1]))
    if "--check" in sys.argv[2:]:
        same = TARGET.is_file() and TARGET.read_text("utf-8") == made
        print(
            "page: up to date"
            if same
            else "page: out of date; run scripts/page and commit the result"
        )
        return 0 if same else 1
    TARGET.write_text(made, "utf-8")
    print(f"{TARGET.relative_to(ROOT)}: {len(made.encode())} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
