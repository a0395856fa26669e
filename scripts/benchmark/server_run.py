"""Runs and shows `scripts/bench --server`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from benchmark import columns, report, server_rows, storages
from benchmark.columns import Column
from benchmark.named_server import NamedServer
from benchmark.rows import DEFAULTS, EXPERT, NO_GATEWAY, SERVICE
from benchmark.server_meters import AccessLog, ServerProcesses, refused
from benchmark.server_rows import Bench, ServerRow
from benchmark.storages import Servers
from efss_transfer.engines.rclone.process.binary import find_binary
from support.service_process import Function

_FLAGS: Final = {DEFAULTS: (), EXPERT: columns.SERVER_EXPERT}
_HALF_FLAGS: Final = ("--include", server_rows.EVERY_SECOND)
_HALF: Final = {"include": [f"**/{server_rows.EVERY_SECOND}"]}


def described(chosen: argparse.Namespace) -> dict[str, Any]:
    """The server and the programs of this run, without any credential."""
    server = NamedServer.of(chosen.server, chosen.vendor, os.environ)
    return {
        "url": server.url,
        "product": server.product(),
        "vendor": chosen.vendor,
        "rclone_vendor": chosen.rclone_vendor or chosen.vendor,
        "sign_in": server.sign_in,
        "expert": list(columns.SERVER_EXPERT),
        "rows": [],
    }


def measure(
    chosen: argparse.Namespace, rounds: int, tell: Callable[[str], None]
) -> Iterator[ServerRow]:
    """Measure the chosen rows on the server that the arguments name."""
    server = NamedServer.of(chosen.server, chosen.vendor, os.environ)
    yield from measure_on(server, chosen, rounds, tell)


def measure_on(
    server: NamedServer, chosen: argparse.Namespace, rounds: int, tell: Callable[[str], None]
) -> Iterator[ServerRow]:
    """Measure the chosen rows on a server, in a folder that is removed afterwards."""
    processes = ServerProcesses(chosen.server_processes) if chosen.server_processes else None
    log = AccessLog(chosen.server_log) if chosen.server_log else None
    binary = find_binary(None)
    quick = chosen.quick
    with ExitStack() as running:
        space = server_rows.space(chosen.rows, chosen.files, quick=quick)
        folder, _ = running.enter_context(storages.work_folder(space))
        for part in ("source", "copies"):
            (folder / "s3" / part).mkdir(parents=True)
        sizes = {row: server_rows.sizes(row, chosen.files, quick=quick) for row in chosen.rows}
        for row, files in sizes.items():  # before the server caches its listings
            server_rows.fill(folder / "s3/source", row, files)
        storages.fill(folder / "s3/source/warm", {"file.bin": 4})
        remote = running.enter_context(server.work_folder())
        tell(f"working in {server.url}/{remote}")
        url = running.enter_context(storages.serve(binary, "s3", folder / "s3"))
        local = Servers(folder, {"s3": url})
        chosen_columns: dict[str, Column] = {}
        halves: dict[str, Column] = {}
        for name in chosen.columns:
            if name in _FLAGS:
                vendor = chosen.rclone_vendor or chosen.vendor
                for into, more in ((chosen_columns, ()), (halves, _HALF_FLAGS)):
                    column = columns.command(binary, (*_FLAGS[name], *more))
                    into[name] = server_rows.as_rclone(server, binary, vendor, column)
            else:
                function = running.enter_context(_service(folder, name, server, chosen.memory))
                chosen_columns[name] = columns.service(function)
                halves[name] = columns.service(function, selection=_HALF)
        _warm_up(server, remote, local, chosen_columns)
        bench = Bench(server, remote, local, chosen_columns, processes, log, tell, halves)
        for row, files in sizes.items():
            yield from bench.measure(row, files, rounds)


@contextmanager
def _service(
    folder: Path, name: str, server: NamedServer, memory: int | None
) -> Iterator[Function]:
    runtime = folder / name.replace(" ", "-")
    runtime.mkdir()
    with columns.function(
        runtime, memory, 8, gateway=name != NO_GATEWAY, networks=server.networks()
    ) as function:
        yield function


def _warm_up(server: NamedServer, remote: str, local: Servers, chosen: dict[str, Column]) -> None:
    """Copy one file with each program, untimed: first requests import modules and fill caches."""
    source = local.endpoint("s3", "source/warm")
    for name, column in chosen.items():
        target = f"{remote}/warm-{name.replace(' ', '-')}"
        try:
            column([(source, server.endpoint(target))], False)
        except columns.CopyFailed as error:
            raise SystemExit(
                f"scripts/bench: {name} cannot copy a file to {server.url}: "
                f"{server.redacted(str(error))}"
            ) from error


def table(rows: list[dict[str, Any]]) -> Table:
    """The results as a table: a line for each program, the ratios beside the service."""
    shown = Table("copied", "program", "wall", "ratio", "CPU", "server CPU", "ratio", "attempts")
    shown.add_column("requests a file")
    shown.add_column("412, 423, 429, 5xx")
    for row in rows:
        title = f"{row['title']}, {row['way']}"
        for name, error in row["failed"].items():
            shown.add_row(title, name, "failed", error[:60])
        for name, own in row["columns"].items():
            ours = name == SERVICE
            cost = own["server_cpu_seconds"]
            shown.add_row(
                title,
                name,
                report.number(own["seconds"]),
                _ratio(row["ratio"]) if ours else "",
                report.number(own["cpu_seconds"]),
                "" if cost is None else report.number(cost),
                _ratio(row["server_cpu_ratio"]) if ours else "",
                str(max(own["attempts"])),
                *_requests(own["requests"], row["files"]),
            )
    return shown


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _requests(runs: list[dict[str, int]], files: int) -> tuple[str, str]:
    """Requests for each file, and refusals in all rounds; empty if they are not known."""
    if not runs:
        return "", ""
    total = sum(sum(run.values()) for run in runs)
    bad: dict[str, int] = {}
    for run in runs:
        for name, count in refused(run).items():
            bad[name] = bad.get(name, 0) + count
    told = ", ".join(f"{name}: {count}" for name, count in sorted(bad.items()))
    return f"{total / len(runs) / files:.2f}", told or "none"
