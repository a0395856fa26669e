"""Takes the pictures of the page in docs/page, in a real browser with real storages.

See scripts/screenshots.
"""

from __future__ import annotations

import base64
import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import Page

# The tests' servers are not installed: only the tests and this script need them.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import page_user, service_process
from support import storages as servers
from support.browser import chromium

FOLDER: Final = Path(__file__).parents[1] / "docs" / "page"
WIDTHS: Final = (1280, 390)
SCHEMES: Final = ("light", "dark")
QUALITY: Final = 82


def picture(page: Page) -> bytes:
    """What the window shows, as WebP: a third of the size of PNG."""
    session = page.context.new_cdp_session(page)
    shot = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    session.detach()
    return base64.b64decode(shot["data"])


def main() -> int:
    """Take a picture of each state, in each width and colour scheme."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as runtime,
        chromium() as browser,
        servers.s3() as s3,
    ):
        (Path(runtime) / "run").mkdir()
        with service_process.function(Path(runtime) / "run") as function:
            for width in WIDTHS:
                for scheme in SCHEMES:
                    for name, seen in page_user.states(browser, function.url, s3, width, scheme):
                        file = folder / f"{name}-{width}-{scheme}.webp"
                        if name == "checked":
                            seen.page.locator("#destination .check").scroll_into_view_if_needed()
                        seen.page.mouse.move(0, 0)  # over no button
                        file.write_bytes(picture(seen.page))
                        if len(sys.argv) > 1:
                            seen.page.screenshot(path=file.with_suffix(".png"))
                        print(f"{file.name}: {file.stat().st_size} bytes", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
