"""A token, a site that knows it, and checks of answers, for the tests of `deploy/nginx.conf`."""

from __future__ import annotations

import hashlib

from efss_transfer.model.errors import CODES
from support import service_process
from support.contract import complaints
from support.nginx import Answer

TOKEN = "canary-of-the-gateway"


AS_PORTAL = {"Authorization": f"Bearer {TOKEN}"}


SITE = {
    **service_process.LOOPBACK,
    "authentication": {
        "mode": "tokens",
        "tokens": [{"caller": "portal", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}],
    },
    "callers": {"portal": {}},
}


# What other tests ask in a second must not be too much for this one.
NO_HURRY = {"rate=5r/s": "rate=1000r/s", "rate=50r/s": "rate=1000r/s"}


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
    "server": "nginx",
}


def assert_problem(answer: Answer, code: str) -> None:
    """It is a problem as the function itself tells it, with the gateway's headers."""
    document = answer.json()
    assert complaints("problem", document) == []
    known = CODES[code]
    assert (document["code"], document["status"]) == (code, known.status)
    assert (document["title"], document["retryable"]) == (known.title, known.retryable)
    assert answer.status == known.status
    assert answer.headers["content-type"] == "application/problem+json"
    assert ("retry-after" in answer.headers) == known.retryable
    assert_guarded(answer)


def assert_guarded(answer: Answer) -> None:
    assert answer.headers.items() >= HEADERS.items()
    assert "max-age=" in answer.headers["strict-transport-security"]
    assert len(answer.headers["x-request-id"]) == 32
