"""What a person, or a program, sees while a transfer runs.

Bars where stderr is a terminal, a line now and then where it is not, and for programs the
events themselves, as lines of JSON on stdout.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol, Self, TextIO

from rich.console import Console
from rich.filesize import pick_unit_and_suffix
from rich.progress import BarColumn, ProgressColumn, TaskID, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from efss_transfer.client.resume import Resumed
from efss_transfer.model import events
from efss_transfer.model.encoding import encode_json
from efss_transfer.model.events import Event, Phase

_EVERY_SECONDS: Final = 10.0
_MOST_SHOWN: Final = 4
_NAME_WIDTH: Final = 28
_WIDE: Final = 72
_UNITS: Final = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
_PHASES: Final = {
    Phase.COPYING: "Copying",
    Phase.WAITING: "Waiting",
    Phase.VERIFYING: "Verifying",
}


class Display(Protocol):
    """Is told all that happens, and shows it; in a `with` statement."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def event(self, event: Event) -> None:
        """Something has happened."""

    def again(self, again: Resumed) -> None:
        """The request is about to be sent again."""


class JsonEvents:
    """For programs: each event on a line of its own."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def event(self, event: Event) -> None:
        """As the service's stream has it."""
        self.document(event.to_json())

    def document(self, document: dict[str, Any]) -> None:
        """A line that is no event of the service's."""
        self._out.write(encode_json(document).decode() + "\n")
        self._out.flush()

    def again(self, again: Resumed) -> None:
        """Nothing: the next `started` tells it."""


class TextProgress:
    """For logs and pipes: a line every ten seconds, and when something else happens."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._next = 0.0
        self._phase = Phase.COPYING

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def event(self, event: Event) -> None:
        """Tell it if it is time to."""
        if not isinstance(event, events.Progress):
            return
        if event.phase is self._phase and time.monotonic() < self._next:
            return
        self._phase = event.phase
        self._next = time.monotonic() + _EVERY_SECONDS
        parts = [_files(event), _moved(event), f"{size(event.speed)}/s"]
        if event.eta_seconds is not None:
            parts.append(f"{duration(event.eta_seconds)} left")
        self._line(f"{_PHASES[event.phase]}: {', '.join(parts)}")

    def again(self, again: Resumed) -> None:
        """Tell it."""
        self._line(told_again(again))

    def _line(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()


class NoProgress:
    """Nothing before the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def event(self, event: Event) -> None:
        """Nothing."""

    def again(self, again: Resumed) -> None:
        """Nothing."""


class ProgressBars:
    """For a person: files and bytes of the whole, and below them what is on its way."""

    def __init__(self, console: Console) -> None:
        columns: list[ProgressColumn] = [TextColumn("{task.description}")]
        if console.width >= _WIDE:
            columns += [BarColumn(bar_width=None), TextColumn("{task.percentage:>3.0f}%")]
        columns.append(TextColumn("{task.fields[told]}"))
        self._progress = Bar(*columns, console=console, expand=True, transient=True)
        self._name_width = min(_NAME_WIDTH, console.width // 4)
        self._files = self._progress.add_task("Connecting", total=None, told="")
        self._bytes = self._progress.add_task("", total=None, told="", visible=False)
        self._on_their_way: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def event(self, event: Event) -> None:
        """Move the bars."""
        if isinstance(event, events.Started):
            self._progress.update(self._files, description="Listing")
        elif isinstance(event, events.Progress):
            left = "" if event.eta_seconds is None else f", {duration(event.eta_seconds)} left"
            self._progress.update(
                self._files,
                description=_PHASES[event.phase],
                completed=event.totals.transferred,
                total=event.expected_files or None,
                told=_files(event) + left,
            )
            self._progress.update(
                self._bytes,
                completed=event.current_bytes,
                total=event.expected_bytes or None,
                told=f"{_moved(event)}, {size(event.speed)}/s",
                visible=True,
            )
            self._show(event.in_flight[:_MOST_SHOWN])

    def again(self, again: Resumed) -> None:
        """Tell it above the bars."""
        self._progress.console.print(Text(told_again(again)))

    def _show(self, files: Sequence[events.InFlight]) -> None:
        shown = {file.path: file for file in files}
        for path in self._on_their_way.keys() - shown.keys():
            self._progress.remove_task(self._on_their_way.pop(path))
        for path, file in shown.items():
            if path not in self._on_their_way:
                name = _name(path, self._name_width)
                self._on_their_way[path] = self._progress.add_task(name, total=None, told="")
            self._progress.update(
                self._on_their_way[path],
                completed=file.current_bytes,
                total=file.size or None,
                told=size(file.current_bytes),
            )


def display(*, as_json: bool, quiet: bool) -> Display:
    """The display that suits where the output goes."""
    if as_json:
        return JsonEvents(sys.stdout)
    if quiet:
        return NoProgress()
    console = Console(stderr=True, highlight=False)
    if console.is_terminal and not console.is_dumb_terminal:
        return ProgressBars(console)
    return TextProgress(sys.stderr)


def told_again(again: Resumed) -> str:
    """Why the request is sent again, and when."""
    of = "" if again.shard is None else f"Shard {again.shard}: "
    if again.error is None:
        return f"{of}The service's time ran out: invocation {again.number} goes on."
    when = f"in {again.seconds:.0f} s" if again.seconds >= 1 else "now"
    return f"{of}{printable(str(again.error))} Trying again {when}."


def size(count: float) -> str:
    """Bytes for a person, in powers of 1024 as rclone has them."""
    unit, suffix = pick_unit_and_suffix(int(count), _UNITS, 1024)
    return f"{count / unit:.1f} {suffix}" if unit > 1 else f"{int(count)} {suffix}"


def duration(seconds: float) -> str:
    """Seconds for a person."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def printable(text: str) -> str:
    """A text from elsewhere, with what could steer a terminal, or end a line, escaped."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text
    )


def _files(event: events.Progress) -> str:
    totals = event.totals
    failed = f" ({totals.failed} failed)" if totals.failed else ""
    return f"{totals.transferred} of {event.expected_files} files{failed}"


def _moved(event: events.Progress) -> str:
    return f"{size(event.current_bytes)} of {size(event.expected_bytes)}"


def _name(path: str, width: int) -> str:
    shown = printable(path)
    if len(shown) > width:
        shown = "…" + shown[1 - width :]
    # rich would read brackets as its markup.
    return Text(f"  {shown}").markup
