"""Show the progress of a transfer.

Progress bars if stderr is a terminal, a line every ten seconds if it is not, and for programs
the events themselves, as lines of JSON on stdout.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, TaskID, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from efss_transfer.cli.formatting import duration, files, printable, size
from efss_transfer.client.resume import Resumed
from efss_transfer.model import events
from efss_transfer.model.encoding import encode_json
from efss_transfer.model.events import Event, Phase, Wait, WaitReason

_INTERVAL_SECONDS: Final = 10.0
_MAX_FILES_SHOWN: Final = 4
_NAME_WIDTH: Final = 28
_MIN_WIDTH_FOR_BARS: Final = 72
_PHASES: Final = {
    Phase.COPYING: "Copying",
    Phase.WAITING: "Waiting",
    Phase.VERIFYING: "Verifying",
}


class Display(Protocol):
    """Show events as they come; used in a `with` statement."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def event(self, event: Event) -> None:
        """Show an event."""

    def resumed(self, resumed: Resumed) -> None:
        """Show that the request is about to be sent again."""


class JsonEvents:
    """Write each event as a line of JSON, for programs."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def event(self, event: Event) -> None:
        """Write the event as the service's stream has it."""
        self.document(event.to_json())

    def document(self, document: dict[str, Any]) -> None:
        """Write a line that is no event of the service."""
        self._out.write(encode_json(document).decode() + "\n")
        self._out.flush()

    def resumed(self, resumed: Resumed) -> None:
        """Write nothing: the next `started` event says it."""


class TextProgress:
    """Write a line every ten seconds, and when a phase or a wait begins, for logs and pipes."""

    def __init__(self, line: Callable[[str], None]) -> None:
        """`line` writes a line."""
        self._line = line
        self._next = 0.0
        self._phase = Phase.COPYING
        self._shown_wait: WaitReason | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def event(self, event: Event) -> None:
        """Write a line if one is due."""
        if not isinstance(event, events.Progress):
            return
        wait = None if event.waiting is None else event.waiting.reason
        begins = event.phase is not self._phase or wait not in (None, self._shown_wait)
        if not begins and time.monotonic() < self._next:
            return
        self._phase, self._shown_wait = event.phase, wait
        self._next = time.monotonic() + _INTERVAL_SECONDS
        if _is_empty(event):
            parts = _left(event) or ["no file found to copy yet"]
        else:
            parts = [_file_counts(event), _moved(event), *_speed(event), *_left(event)]
        self._line(f"{_PHASES[event.phase]}: {', '.join(parts)}")

    def resumed(self, resumed: Resumed) -> None:
        """Write why and when."""
        self._line(resumed_text(resumed))


class NoProgress:
    """Show nothing before the summary."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def event(self, event: Event) -> None:
        """Show nothing."""

    def resumed(self, resumed: Resumed) -> None:
        """Show nothing."""


class ProgressBars:
    """Show bars of all files and bytes, and below them the files that are being copied."""

    def __init__(self, console: Console) -> None:
        columns: list[ProgressColumn] = [TextColumn("{task.description}")]
        if console.width >= _MIN_WIDTH_FOR_BARS:
            columns += [BarColumn(bar_width=None), TextColumn("{task.percentage:>3.0f}%")]
        columns.append(TextColumn("{task.fields[detail]}"))
        self._progress = Bar(*columns, console=console, expand=True, transient=True)
        self._name_width = min(_NAME_WIDTH, console.width // 4)
        self._files = self._progress.add_task("Connecting", total=None, detail="")
        self._bytes = self._progress.add_task("", total=None, detail="", visible=False)
        self._in_flight: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def event(self, event: Event) -> None:
        """Update the bars."""
        if isinstance(event, events.Started):
            self._progress.update(self._files, description="Listing")
        elif isinstance(event, events.Progress):
            counts = [] if _is_empty(event) else [_file_counts(event)]
            self._progress.update(
                self._files,
                description=_PHASES[event.phase],
                completed=event.totals.transferred,
                total=event.expected_files or None,
                # rich would take brackets for its markup.
                detail=Text(", ".join([*counts, *_left(event)])).markup,
            )
            self._progress.update(
                self._bytes,
                completed=event.current_bytes,
                total=event.expected_bytes or None,
                detail=", ".join([_moved(event), *_speed(event)]),
                visible=not _is_empty(event),
            )
            self._show(event.in_flight[:_MAX_FILES_SHOWN])

    def resumed(self, resumed: Resumed) -> None:
        """Write why and when above the bars."""
        self._progress.console.print(Text(resumed_text(resumed)))

    def _show(self, in_flight: Sequence[events.InFlight]) -> None:
        shown = {file.path: file for file in in_flight}
        for path in self._in_flight.keys() - shown.keys():
            self._progress.remove_task(self._in_flight.pop(path))
        for path, file in shown.items():
            if path not in self._in_flight:
                name = _name(path, self._name_width)
                self._in_flight[path] = self._progress.add_task(name, total=None, detail="")
            self._progress.update(
                self._in_flight[path],
                completed=file.current_bytes,
                total=file.size or None,
                detail=size(file.current_bytes),
            )


def display(*, as_json: bool, quiet: bool) -> Display:
    """Return the display that suits the output."""
    if as_json:
        return JsonEvents(sys.stdout)
    if quiet:
        return NoProgress()
    console = Console(stderr=True, highlight=False)
    if console.is_terminal and not console.is_dumb_terminal:
        return ProgressBars(console)
    return TextProgress(partial(print, file=sys.stderr, flush=True))


def resumed_text(resumed: Resumed) -> str:
    """Say why the request is sent again, and when."""
    shard = "" if resumed.shard is None else f"Shard {resumed.shard}: "
    if resumed.error is None:
        return (
            f"{shard}The service's time limit was reached. Resuming: invocation {resumed.number}."
        )
    when = f"in {resumed.seconds:.0f} s" if resumed.seconds >= 1 else "now"
    text = printable(str(resumed.error)).rstrip(".")
    return f"{shard}{text}. Retrying {when}."


def _file_counts(event: events.Progress) -> str:
    totals = event.totals
    failed = f" ({totals.failed:,} failed)" if totals.failed else ""
    return f"{totals.transferred:,} of {files(event.expected_files)}{failed}"


def _is_empty(event: events.Progress) -> bool:
    """Return whether nothing was found and nothing was done: zeros say nothing."""
    totals = event.totals
    return not (event.expected_files or totals.transferred or totals.failed)


def _speed(event: events.Progress) -> list[str]:
    """The speed, once there is one: `0 B/s` before the first byte says nothing."""
    return [f"{size(event.speed)}/s"] if event.speed >= 1 else []


def wait_text(wait: Wait) -> str:
    """Say what a transfer waits for."""
    who = wait.server or (f"the {wait.side.value}" if wait.side else "the storage")
    path = _shortened(wait.path, _NAME_WIDTH) or "a file"
    match wait.reason:
        case WaitReason.SERVER_BUSY if wait.seconds is not None:
            return f"{who} asks to slow down: {duration(max(1, wait.seconds))}"
        case WaitReason.SERVER_BUSY:
            return f"{who} is busy"
        case WaitReason.FILE_LOCKED:
            return f"{path} is locked at the {wait.side.value if wait.side else 'storage'}"
        case WaitReason.FILE_PROCESSING:
            return f"{who} still processes {path}"
        case WaitReason.NEXT_ATTEMPT:
            return f"next attempt in {duration(max(1, wait.seconds or 0))}"


def _left(event: events.Progress) -> list[str]:
    """Say what the transfer waits for, how long it still takes, or that it is finishing."""
    if event.waiting is not None:
        return [wait_text(event.waiting)]
    if event.eta_seconds is not None:
        return [f"{duration(max(1, event.eta_seconds))} left"]
    is_moved = 0 < event.expected_bytes <= event.current_bytes
    is_stored = event.totals.transferred + event.totals.failed >= event.expected_files
    return ["finishing"] if is_moved and not is_stored and event.phase is Phase.COPYING else []


def _moved(event: events.Progress) -> str:
    return f"{size(event.current_bytes)} of {size(event.expected_bytes)}"


def _shortened(path: str, width: int) -> str:
    shown = printable(path)
    return shown if len(shown) <= width else "…" + shown[1 - width :]


def _name(path: str, width: int) -> str:
    shown = _shortened(path, width)
    # rich would take brackets for its markup.
    return Text(f"  {shown}").markup
