"""Parses the command line of the benchmark."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from benchmark import columns as benchmark_columns
from benchmark import report
from benchmark.named_server import PASSWORD, TOKEN, USER
from benchmark.rows import DAEMON, NO_GATEWAY, SERVICE, WORKLOADS

SEPARATE_ROWS: Final = {
    "gateway": "with and without the WebDAV gateway: 1 GiB and 2,000 small files, each way",
    "nextcloud": "1,000 files of 4 KB (see --files) up to a stand-in of Nextcloud, and down",
    "third-party": "1,000 small files, and 1,000 of 2 GiB in all: tpc and fts beside rclone",
    "shards": "four shards at once, compared with one request",
    "listing": "one of 10,000 shards of 20,000 files: the cost of listing them",
    "urls": "1,000 URLs, beside `rclone copyurl --urls` by an expert",
    "cold": "a cold start on AWS Lambda",
}
SERVER_ROWS: Final = {
    "server-small": "1,000 files of 4 KB in 50 folders, up twice, down, and every second one down",
    "server-large": "one file of 1 GiB, up and down",
}
_DEFAULT_ROWS: Final = [workload.name for workload in WORKLOADS if workload.default]
_SERVER_HELP: Final = f"""\
With --server, rclone copy, rclone copy with an expert's flags, and this service copy between an S3
server on this machine and the WebDAV server, up and down. They use a new folder with a random name
below the URL, which is removed at the end, also after Ctrl-C. Each program downloads what another
has uploaded, and every byte is compared. Sign in by variables of the environment, because other
users can see a command line:
  {USER:20} user
  {PASSWORD:20} app password or password
  {TOKEN:20} bearer token, in place of both
"""
_EXAMPLES: Final = """\
examples: scripts/bench --quick
          scripts/bench --rows small-to-s3,large --round-trips 20 --json
          scripts/bench --rows gateway
          scripts/bench --rows nextcloud --rounds 1
          scripts/bench --memory 512M --columns efss-transfer
          scripts/bench --server https://cloud.example.org/remote.php/dav/files/alice --quick
          scripts/bench --server http://127.0.0.1:8080/remote.php/dav/files/alice \\
            --server-processes php-fpm8.2,nginx,postgres --server-log /var/log/nginx/access.log
"""


def size(text: str) -> int:
    """Parse a number of bytes with an optional unit: 512M, 2G."""
    units = {"K": 10, "M": 20, "G": 30}
    number, shift = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 0)
    if not number.isdecimal() or int(number) << shift < 256 << 20:
        raise argparse.ArgumentTypeError(
            "expected a number of bytes such as 512M or 2G, at least 256M"
        )
    return int(number) << shift


def names(text: str) -> list[str]:
    """Parse comma-separated names of rows."""
    return _known("row", text, [row.name for row in WORKLOADS] + [*SEPARATE_ROWS, *SERVER_ROWS])


def columns(text: str) -> list[str]:
    """Parse comma-separated names of columns; the service is always included."""
    chosen = _known("column", text, [*report.COLUMNS, NO_GATEWAY])
    return [name for name in (*report.COLUMNS, NO_GATEWAY) if name in (*chosen, SERVICE)]


def _known(kind: str, text: str, known: list[str]) -> list[str]:
    chosen = text.split(",")
    if unknown := set(chosen) - set(known):
        raise argparse.ArgumentTypeError(
            f"unknown {kind} {', '.join(sorted(unknown))}; choose from {', '.join(known)}"
        )
    return chosen


def parse(description: str | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_epilog(),
    )
    parser.add_argument(
        "--rows",
        type=names,
        metavar="NAME,NAME",
        help="rows to measure; default: all local ones but the last seven, or both with --server",
    )
    parser.add_argument("--rounds", type=int, help="rounds of each row; default 3, with --quick 1")
    parser.add_argument(
        "--round-trips", default="0,20", metavar="MS,MS", help="simulated round trips, default 0,20"
    )
    parser.add_argument(
        "--columns",
        type=columns,
        metavar="NAME,NAME",
        help=f"columns to measure: {', '.join(report.COLUMNS)}; default all. With --server: "
        f"{NO_GATEWAY} in place of {DAEMON}; default all but {NO_GATEWAY}",
    )
    parser.add_argument(
        "--quick", action="store_true", help="copy a hundredth of the data, as a trial"
    )
    parser.add_argument(
        "--apart",
        action="store_true",
        help="give the storages half of the CPUs, and the copying processes the other half",
    )
    parser.add_argument("--memory", type=size, help="memory limit of the service, such as 512M")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument(
        "--save",
        type=Path,
        help="write each finished row to this JSON file, keeping its other rows",
    )
    parser.add_argument("--svg", type=Path, help="write the plot to this file")
    parser.add_argument(
        "--show", type=Path, help="show the JSON file of an earlier run, without measuring"
    )
    _add_server(parser)
    return _checked(parser, parser.parse_args())


def _add_server(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a WebDAV server of your own")
    group.add_argument("--server", metavar="URL", help="measure on this WebDAV server instead")
    group.add_argument(
        "--vendor", default="nextcloud", help="vendor of the server, as in a request and in rclone"
    )
    group.add_argument("--rclone-vendor", metavar="VENDOR", help="another vendor for rclone copy")
    group.add_argument(
        "--files", type=int, default=1000, help="number of small files; default 1000"
    )
    group.add_argument(
        "--server-processes",
        type=lambda text: text.split(","),
        default=[],
        metavar="NAME,NAME",
        help="processes of a server on this machine and their parents, to measure its CPU time",
    )
    group.add_argument(
        "--server-log",
        type=Path,
        metavar="FILE",
        help="access log of a server on this machine, to count requests and their statuses; "
        "no one else may use the server meanwhile",
    )


def _checked(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> argparse.Namespace:
    """Fill in what depends on other arguments, and refuse what does not go together."""
    if chosen.server is None:
        chosen.rows = chosen.rows or _DEFAULT_ROWS
        chosen.columns = chosen.columns or list(report.COLUMNS)
        if NO_GATEWAY in chosen.columns:
            parser.error(f"the column {NO_GATEWAY!r} needs --server; or use --rows gateway")
        if wrong := [name for name in chosen.rows if name in SERVER_ROWS]:
            parser.error(f"the rows {', '.join(wrong)} need --server")
        return chosen
    chosen.rows = chosen.rows or list(SERVER_ROWS)
    if wrong := [name for name in chosen.rows if name not in SERVER_ROWS]:
        parser.error(f"not measured with --server: {', '.join(wrong)}")
    if DAEMON in (chosen.columns or ()):
        parser.error(f"the column {DAEMON} is not measured with --server")
    chosen.columns = chosen.columns or [name for name in report.COLUMNS if name != DAEMON]
    return chosen


def _epilog() -> str:
    described = {row.name: row.title for row in WORKLOADS} | SEPARATE_ROWS
    rows = "".join(f"  {name:16} {title}\n" for name, title in described.items())
    server_rows = "".join(f"  {name:16} {title}\n" for name, title in SERVER_ROWS.items())
    return (
        f"rows:\n{rows}\n"
        "Default: all but the last seven. The row of 8 GiB needs 30 GB of disk and memory.\n\n"
        f"rows with --server:\n{server_rows}\n{_SERVER_HELP}\n"
        f"the expert's flags: {' '.join(benchmark_columns.EXPERT)}\n"
        f"with --server: {' '.join(benchmark_columns.SERVER_EXPERT)}\n\n{_EXAMPLES}"
    )
