"""The browser page at GET /: one HTML file, which `scripts/page` builds from functions/page.

Its Content-Security-Policy allows only this script and this style sheet, by their hashes, and
requests to this service only; it allows no form submission.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Final

HTML: Final = "text/html"

_INLINE: Final = {
    "script-src": re.compile(rb'<script type="module">(.*?)</script>', re.DOTALL),
    "style-src": re.compile(rb"<style>(.*?)</style>", re.DOTALL),
}


@cache
def content() -> bytes:
    """The HTML of the page."""
    return (files("efss_transfer.service") / "page.html").read_bytes()


@cache
def headers() -> dict[str, str]:
    """The response headers of the page."""
    policy = {"default-src": "'none'"}
    for directive, pattern in _INLINE.items():
        [text] = pattern.findall(content())
        digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
        policy[directive] = f"'sha256-{digest}'"
    policy |= {
        "img-src": "data:",  # the icon
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Type": f"{HTML}; charset=utf-8",
        "Content-Security-Policy": "; ".join(f"{name} {it}" for name, it in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept",  # the same URL serves JSON to programs
        "Cache-Control": "no-store",
    }


def prefers_html(accept: str | None) -> bool:
    """Whether an Accept header asks for HTML rather than JSON, as a browser's does.

    `*/*` and a missing header do not count: programs send those.
    """
    weights = {HTML: 0.0, "application/json": 0.0}
    for entry in (accept or "").lower().split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        if kind in weights:
            weights[kind] = _weight(parameters)
    return weights[HTML] > weights["application/json"]


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if re.fullmatch(r"q=(0(\.\d{0,3})?|1(\.0{0,3})?)", parameter):
            return float(parameter[2:])
    return 1.0
