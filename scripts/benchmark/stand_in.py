"""Measures on the stand-in of Nextcloud, whose requests take as long as they did on a real one.

Its processors are simulated: requests sleep for the time that was measured, two at a time. So the
figures depend little on the machine, and show what the number and kind of requests cost a server.
`scripts/bench --rows nextcloud` runs it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, Final

from rich.table import Table

from benchmark import server_run
from benchmark.named_server import NamedServer
from benchmark.rows import DAEMON
from support import nextcloud
from support.slow_network import distant

ROW: Final = "server-small"
_HOME: Final = "/remote.php/dav/files/alice"
_USER: Final = "alice"


def measure(
    chosen: argparse.Namespace, trips: list[int], rounds: int, tell: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """Copy small files up and down over each round trip, with each program in turn."""
    programs = argparse.Namespace(**vars(chosen))
    programs.rows, programs.rclone_vendor, programs.vendor = [ROW], None, "nextcloud"
    programs.server_processes, programs.server_log = [], None
    programs.columns = [name for name in chosen.columns if name != DAEMON]
    for trip in trips:
        with (
            nextcloud.serving(cost=nextcloud.OBSERVED) as cloud,
            distant(cloud.url, trip / 1000) as url,
        ):
            server = NamedServer(url + _HOME, "nextcloud", _USER, cloud.app_password())
            for row in server_run.measure_on(server, programs, rounds, tell):
                yield {**asdict(row), "round_trip_ms": trip}


def tables(rows: list[dict[str, Any]]) -> Iterator[Table]:
    """The results as a table for each round trip."""
    for trip in sorted({row["round_trip_ms"] for row in rows}):
        shown = server_run.table([row for row in rows if row["round_trip_ms"] == trip])
        shown.title = f"stand-in of Nextcloud, {trip} ms"
        yield shown
