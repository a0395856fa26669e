"""Put the page together: its HTML, its style, and its programs as one. See scripts/page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "functions" / "page"
TARGET = ROOT / "functions" / "efss_transfer" / "service" / "page.html"


def bundled(packages: Path, file: Path) -> str:
    """A program, or a style, with all that it imports, made short."""
    [esbuild] = sorted((packages / "@esbuild").glob("*/bin/esbuild"))
    made = subprocess.run(
        [
            *(esbuild, file, "--bundle", "--minify", "--charset=utf8", "--target=es2022,chrome109"),
            *("--format=esm", "--legal-comments=none", "--log-level=warning"),
        ],
        env={"NODE_PATH": str(packages)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return made.stdout.strip()


def page(packages: Path) -> str:
    """The whole page."""
    html = (SOURCES / "page.html").read_text("utf-8")
    style, script = (bundled(packages, SOURCES / name) for name in ("page.css", "main.js"))
    # It stands within the page's own script.
    assert "</script" not in script.lower()
    assert "<!--" not in script
    notice = (SOURCES / "NOTICE.txt").read_text("utf-8")
    html = html.replace("/*style*/", style).replace("/*script*/", script)
    return f"{html.rstrip()}\n<!--\n{notice}-->\n"


def main() -> int:
    """Write it, or with --check compare it; 1 if it is another."""
    made = page(Path(sys.argv[1]))
    if "--check" in sys.argv[2:]:
        same = TARGET.is_file() and TARGET.read_text("utf-8") == made
        print("page: as its sources are" if same else "page: run scripts/page, and commit it")
        return 0 if same else 1
    TARGET.write_text(made, "utf-8")
    print(f"{TARGET.relative_to(ROOT)}: {len(made.encode())} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
