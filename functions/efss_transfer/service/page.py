"""The page that GET / gives to a browser: one file, which `scripts/page` makes of functions/page.

The policy sent with it lets a browser run exactly its one program and its one style, by their
hashes, talk to this service alone, and send a form nowhere.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Final

HTML: Final = "text/html"

_PARTS: Final = {
    "script-src": re.compile(rb'<script type="module">(.*?)</script>', re.DOTALL),
    "style-src": re.compile(rb"<style>(.*?)</style>", re.DOTALL),
}


@cache
def content() -> bytes:
    """The page itself."""
    return (files("efss_transfer.service") / "page.html").read_bytes()


@cache
def headers() -> dict[str, str]:
    """What goes with it. The type is told apart by what was asked for: hence Vary."""
    sources = {"default-src": "'none'"}
    for directive, part in _PARTS.items():
        [text] = part.findall(content())
        digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
        sources[directive] = f"'sha256-{digest}'"
    sources |= {
        "img-src": "data:",  # its icon
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Type": f"{HTML}; charset=utf-8",
        "Content-Security-Policy": "; ".join(f"{name} {it}" for name, it in sources.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept",
        "Cache-Control": "no-store",
    }


def wanted(accept: str | None) -> bool:
    """Whether who sends this Accept header is a browser that shows pages to a person.

    Only who names HTML gets it, and JSON less: programs send `*/*`, or nothing.
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
