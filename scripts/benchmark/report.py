"""Shows the results of the benchmark as a table or a plot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from rich.table import Table

from benchmark.rows import DAEMON, DEFAULTS, EXPERT, SERVICE

Rows = Sequence[Mapping[str, Any]]

_COLOURS: Final = {
    DEFAULTS: "#9aa5b1",
    EXPERT: "#5c7cfa",
    DAEMON: "#c0b283",
    SERVICE: "#2f9e44",
}
COLUMNS: Final = tuple(_COLOURS)
_LEFT: Final = 330
_WIDTH: Final = 980
_BAR: Final = 13
_GAP: Final = 16
_FULL_WIDTH: Final = 430
"""Width in pixels of the time of `rclone copy` with its defaults."""
_MAX_RATIO: Final = 1.2


def number(seconds: float) -> str:
    """Seconds with significant digits."""
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"


def megabytes(count: int) -> str:
    """Memory in MiB."""
    return f"{count / (1 << 20):.0f} MiB"


def table(rows: Rows) -> Table:
    """The results as a table for a terminal."""
    shown = Table("copied", "round trip", *_COLOURS, "ratio", "aim", "memory", show_lines=False)
    for row in rows:
        cells = [_cell(row["columns"].get(name)) for name in _COLOURS]
        ratio = row["ratios"].get(SERVICE)
        ours = row["columns"].get(SERVICE)
        memory = row["failed"][:60] if row["failed"] else megabytes(ours["peak_bytes"])
        if row["within"] is not None:
            memory += " within the limit" if row["within"] else " OVER THE LIMIT"
        shown.add_row(
            f"{row['title']}, {row['way']}",
            f"{row['round_trip_ms']} ms",
            *cells,
            "" if ratio is None else f"{ratio:.2f}",
            "" if row["aim"] is None else f"≤ {row['aim']:.3g}",
            memory,
        )
    return shown


def markdown(rows: Rows) -> str:
    """The results as a Markdown table for the docs."""
    lines = [
        "| copied | round trip | " + " | ".join(_COLOURS) + " | ratio | processor | memory |",
        "|---|--:|" + "--:|" * (len(_COLOURS) + 3),
    ]
    for row in rows:
        columns = row["columns"]
        cells = [_cell(columns.get(name)) for name in _COLOURS]
        ours, plain = columns[SERVICE], columns[DEFAULTS]
        lines.append(
            f"| {row['title']}, {row['way']} | {row['round_trip_ms']} ms | "
            + " | ".join(cells)
            + f" | **{row['ratios'][SERVICE]:.2f}**"
            + f" | {number(plain['cpu_seconds'])} / {number(ours['cpu_seconds'])}"
            + f" | {megabytes(plain['peak_bytes'])} / {megabytes(ours['peak_bytes'])} |"
        )
    return "\n".join(lines) + "\n"


def _cell(column: Mapping[str, Any] | None) -> str:
    return "" if column is None else number(column["seconds"])


def plot(rows: Rows, caption: str) -> str:
    """An SVG with a bar for each column of each row, as a ratio to `rclone copy`."""
    each = len(_COLOURS) * _BAR + _GAP
    height = 70 + each * len(rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12" role="img">\n'
        f"<title>{escape(caption)}</title>\n"
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>\n'
        + "\n".join(_elements(rows, each, height))
        + "\n</svg>\n"
    )


def _elements(rows: Rows, each: int, height: int) -> Iterator[str]:
    for position, (name, colour) in enumerate(_COLOURS.items()):
        x = 20 + position * 190
        yield f'<rect x="{x}" y="12" width="12" height="12" fill="{colour}"/>'
        yield f'<text x="{x + 18}" y="22">{escape(name)}</text>'
    at = _LEFT + _FULL_WIDTH
    yield f'<line x1="{at}" y1="40" x2="{at}" y2="{height - 20}" stroke="#ced4da"/>'
    yield f'<text x="{at}" y="{height - 6}" text-anchor="middle">time of rclone copy</text>'
    for index, row in enumerate(rows):
        top = 45 + index * each
        yield f'<text x="20" y="{top + 20}">{escape(row["title"])}</text>'
        details = f"{row['way']}, {row['round_trip_ms']} ms of round trip"
        yield f'<text x="20" y="{top + 37}" fill="#495057">{escape(details)}</text>'
        for position, (name, colour) in enumerate(_COLOURS.items()):
            if name not in row["ratios"]:
                continue
            y = top + position * _BAR
            ratio = row["ratios"][name]
            width = max(1.0, min(ratio, _MAX_RATIO) * _FULL_WIDTH)
            yield (
                f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 2}" '
                f'fill="{colour}"/>'
            )
            label = f"{number(row['columns'][name]['seconds'])} ({ratio:.2f})"
            yield f'<text x="{_LEFT + width + 6:.1f}" y="{y + 10}" font-size="10">{label}</text>'
