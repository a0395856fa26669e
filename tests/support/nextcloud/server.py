"""The stand-in as a running server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.nextcloud.cloud import Nextcloud
from support.nextcloud.errors import DavError
from support.nextcloud.exchange import Exchange
from support.nextcloud.routes import answer
from support.stand_in.server import running
from support.stand_in.site import Cost


def serve(exchange: Exchange) -> None:
    """Answer, or refuse in Nextcloud's form."""
    if exchange.cloud.buffered:
        exchange.hold()
    try:
        with exchange.cloud.worker():
            exchange.cloud.spend(exchange.cloud.cost.start)
            answer(exchange)
    except DavError as refusal:
        exchange.reply(
            refusal.status, refusal.body(), *refusal.headers, kind="application/xml; charset=utf-8"
        )
    finally:
        exchange.release()


@contextmanager
def serving(*, cost: Cost | None = None, buffered: bool = False) -> Iterator[Nextcloud]:
    """A stand-in with the account `alice`, for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="nextcloud-") as folder:
        cloud = Nextcloud(Path(folder), cost=cost or Cost(), buffered=buffered)
        with running(cloud, serve):
            yield cloud
