"""`efss-transfer status` and `copy --detach`: what they send, show and exit with."""

from __future__ import annotations

import http.server
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from click.testing import Result as Done

from efss_transfer.cli import main
from efss_transfer.model.events import Finished, Progress, Started
from efss_transfer.model.result import ErrorGroup, Reason, Result, Sample, State, Totals
from support import http_servers

NOW = datetime(2026, 11, 29, tzinfo=UTC)
RUNNING = Result(State.INCOMPLETE, "fts", Totals(12, 3), NOW, NOW, "still_running")
COMPLETE = Result(State.SUCCEEDED, "fts", Totals(0, 15), NOW, NOW)
MISSING = Result(
    State.SUCCEEDED,
    "fts",
    Totals(0, 15, reasons={Reason.DRY_RUN: 4, Reason.SAME: 11}, dry_run_bytes=2048),
    NOW,
    NOW,
)
FAILED = Result(
    State.FAILED,
    "fts",
    Totals(),
    NOW,
    NOW,
    "source_not_found",
    (ErrorGroup("source_not_found", None, False, 1, (Sample("", "None."),)),),
)
PROGRESS = Progress(Totals(12, 3), 1 << 20, 48, 4 << 20, 1 << 18)
ENDPOINT = """\
[{}]
type = "webdav"
[{}.parameters]
url = "http://127.0.0.1:1"
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[Done, list[Any]]]:
    """Run a command against a service that answers with these events."""
    file = tmp_path / "endpoints.toml"
    file.write_text("".join(ENDPOINT.format(name, name) for name in ("eos", "dcache")))
    file.chmod(0o600)

    def run(command: str, *events: Any, words: tuple[str, ...] = ()) -> tuple[Done, list[Any]]:
        sent: list[Any] = []
        told = [Started("fts", NOW), *events]
        lines = b"".join(json.dumps(event.to_json()).encode() + b"\n" for event in told)

        def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
            sent.append(json.loads(handler.rfile.read(int(handler.headers["Content-Length"]))))
            del handler.headers["Content-Length"]  # nothing is left to read
            http_servers.reply(handler, 200, lines, "application/x-ndjson")

        with http_servers.misbehaving(answer) as url:
            given = [command, "--endpoints", str(file), "--url", url, *words]
            done = CliRunner().invoke(main.main, [*given, "eos:run", "dcache:run"])
        return done, sent

    return run


@pytest.mark.parametrize(
    ("events", "code", "word", "said"),
    [
        ((PROGRESS, Finished(RUNNING)), 10, "running", "25%  1.0 MiB of 4.0 MiB, 12 of 48 files"),
        ((Finished(RUNNING),), 10, "running", "The copy runs: 15 files so far."),
        ((Finished(COMPLETE),), 0, "complete", "Copy complete: 15 files at the destination."),
        ((Finished(MISSING),), 9, "missing", "Nothing runs: 4 files missing, 2.0 KiB, 11 there."),
        ((Finished(FAILED),), 3, "failed", "Copy failed."),
    ],
    ids=["bar", "running", "complete", "missing", "failed"],
)
def test_status_is_a_line_for_people_and_an_object_for_programs(
    run: Callable[..., tuple[Done, list[Any]]],
    events: tuple[Any, ...],
    code: int,
    word: str,
    said: str,
) -> None:
    done, sent = run("status", *events)
    assert done.exit_code == code, done.output
    assert said in done.output
    # One request, which starts nothing.
    assert [it["options"] for it in sent] == [{"detach": True, "dry_run": True}]
    done, _ = run("status", *events, words=("--json",))
    assert done.exit_code == code
    shown = json.loads(done.stdout)
    assert (shown["status"], "progress" in shown) == (word, len(events) == 2)
    assert shown["result"]["engine"] == "fts"


def test_copy_that_goes_on_by_itself_has_started(
    run: Callable[..., tuple[Done, list[Any]]],
) -> None:
    done, sent = run("copy", Finished(RUNNING), words=("--detach",))
    assert done.exit_code == 0, done.output
    assert "efss-transfer status" in done.output
    assert [it["options"] for it in sent] == [{"detach": True}]


def test_copy_that_goes_on_by_itself_has_no_shards(
    run: Callable[..., tuple[Done, list[Any]]],
) -> None:
    done, sent = run("copy", words=("--detach", "--shards", "2"))
    assert (done.exit_code, sent) == (2, [])
    assert "--shards" in done.output
