"""`scripts/bench --server` and `--rows gateway` measure what they say; how fast is not tested."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmark import gateway, server_meters, server_rows, server_run
from benchmark.columns import Column, Copy, CopyFailed, Run
from benchmark.named_server import PASSWORD, TOKEN, USER, NamedServer
from benchmark.server_rows import Bench
from benchmark.storages import Servers
from support import nextcloud
from support.storages import ROOT

COMMAND = [sys.executable, str(ROOT / "scripts/benchmark")]
URL = "http://127.0.0.1:1/dav"


@pytest.fixture
def cloud() -> Iterator[nextcloud.Nextcloud]:
    with nextcloud.serving() as made:
        yield made


def environment(cloud: nextcloud.Nextcloud) -> dict[str, str]:
    return {**os.environ, USER: "alice", PASSWORD: cloud.app_password()}


def arguments(cloud: nextcloud.Nextcloud) -> list[str]:
    return [f"--server={cloud.url}/remote.php/dav/files/alice", "--quick"]


@contextmanager
def process_name(name: str) -> Iterator[None]:
    """Another name for this process, in which the stand-in runs: others are named python, too."""
    file = Path("/proc/self/comm")
    before = file.read_text("ascii")
    file.write_text(name, "ascii")
    try:
        yield
    finally:
        file.write_text(before, "ascii")


def left(cloud: nextcloud.Nextcloud) -> list[str]:
    return [path for path in cloud.hashes("") if "efss-bench" in path]


@pytest.mark.slow
def test_server_is_measured_beside_rclone_and_left_as_it_was(
    cloud: nextcloud.Nextcloud, tmp_path: Path
) -> None:
    cloud.write("/mine.txt", b"mine")
    saved = tmp_path / "server.json"
    words = ["--json", f"--save={saved}", "--server-processes=nextcloud-here"]
    words += ["--columns=rclone copy,expert,no gateway,efss-transfer"]
    with process_name("nextcloud-here"):
        done = subprocess.run(
            [*COMMAND, *arguments(cloud), *words],
            capture_output=True,
            text=True,
            timeout=300,
            env=environment(cloud),
        )
    assert done.returncode == 0, done.stderr
    assert cloud.app_password() not in done.stdout + done.stderr
    found = json.loads(done.stdout)["server"]
    assert json.loads(saved.read_text("utf-8"))["server"] == found
    assert (found["vendor"], found["sign_in"]) == ("nextcloud", "user and password")
    assert found["product"].startswith("Nextcloud")
    assert [(row["row"], row["way"]) for row in found["rows"]] == [
        ("server-small", "up"),
        ("server-small", "a second time"),
        ("server-small", "down"),
        ("server-small", "every second file down"),
        ("server-large", "up"),
        ("server-large", "down"),
    ]
    for row in found["rows"]:
        assert set(row["columns"]) == {"rclone copy", "expert", "no gateway", "efss-transfer"}
        assert row["ratio"] > 0
        assert not row["failed"]
        for column in row["columns"].values():
            assert column["seconds"] > 0
            # The kernel counts in hundredths of a second: a large file down may take none.
            assert column["server_cpu_seconds"] >= 0
            assert len(column["attempts"]) == 1
    small = found["rows"][0]["columns"].values()
    assert all(column["server_cpu_seconds"] > 0 for column in small)
    # rclone's two columns, and ours without the gateway, send each file by itself. Ours sends in
    # bulk what waits at the same time, which depends on the machine.
    uploads = cloud.statuses("PUT", "*/efss-bench-*/*.dat")
    assert list(uploads) == [201]
    assert 3 * 10 <= uploads[201] <= 4 * 10
    assert set(cloud.statuses("POST", "/remote.php/dav/bulk")) <= {200}
    assert sorted(cloud.hashes("")) == ["mine.txt"]
    assert cloud.statuses("DELETE")[204] >= 4 * 2 + 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_interrupted_run_removes_its_folder(
    cloud: nextcloud.Nextcloud, number: signal.Signals
) -> None:
    cloud.archives = False
    cloud.fail("GET", "*.dat", nextcloud.delay(60))
    with subprocess.Popen(
        [*COMMAND, *arguments(cloud), "--columns=efss-transfer"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(cloud),
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "down: efss-transfer" in line:
                break
        assert left(cloud), "nothing was uploaded before"
        until = time.monotonic() + 30
        while not cloud.seen("GET", "*.dat"):  # the copy is under way, and would take a minute
            assert time.monotonic() < until, "the download never began"
            time.sleep(0.01)
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in told
    assert left(cloud) == []
    assert not [name for name in cloud.user().tree.root.children if "efss" in name]


@pytest.mark.parametrize(
    ("words", "variables", "told"),
    [
        ((f"--server={URL}",), {}, PASSWORD),
        ((f"--server={URL}",), {USER: "alice"}, PASSWORD),
        (("--server=http://alice:secret@127.0.0.1/dav",), {TOKEN: "t"}, "without a user"),
        ((f"--server={URL}", "--rows=small-to-s3"), {TOKEN: "t"}, "small-to-s3"),
        ((f"--server={URL}", "--columns=rcd"), {TOKEN: "t"}, "rcd"),
        ((f"--server={URL}", "--server-processes=no-such-name"), {TOKEN: "t"}, "no-such-name"),
        ((f"--server={URL}", "--server-log=/no/such"), {TOKEN: "t"}, "/no/such"),
        (("--rows=server-small",), {}, "--server"),
        (("--columns=no gateway",), {}, "--server"),
    ],
)
def test_unusable_arguments_are_refused(
    words: Sequence[str], variables: dict[str, str], told: str
) -> None:
    without = {
        name: text for name, text in os.environ.items() if name not in (USER, PASSWORD, TOKEN)
    }
    done = subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=60, env=without | variables
    )
    assert done.returncode != 0
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr.replace(words[0], "")


def test_wrong_password_is_named_and_nothing_is_measured(cloud: nextcloud.Nextcloud) -> None:
    done = subprocess.run(
        [*COMMAND, *arguments(cloud)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, USER: "alice", PASSWORD: "canary-wrong"},
    )
    assert done.returncode == 1
    assert "401" in done.stderr
    assert "canary-wrong" not in done.stderr
    assert set(cloud.statuses()) == {401, 200}, "status.php is public"


def test_token_takes_precedence_and_no_secret_is_shown() -> None:
    server = NamedServer.of(
        f"{URL}/", "nextcloud", {USER: "alice", PASSWORD: "canary-1", TOKEN: "canary-2"}
    )
    assert server.endpoint("a")["parameters"] == {
        "url": URL,
        "vendor": "nextcloud",
        "bearer_token": "canary-2",
    }
    assert server.sign_in == "bearer token"
    assert "canary" not in repr(server)
    assert server.redacted("refused canary-2") == "refused ***"


def test_requests_of_access_logs_are_counted(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text('127.0.0.1 - - [x] "PUT /before HTTP/1.1" 201 0\n')
    counted = server_meters.AccessLog(log)
    with log.open("a") as file:
        file.write('127.0.0.1 - a [x] "PUT /a HTTP/1.1" 201 0 "-" "rclone/v1"\n')
        file.write('1795876775.5 8480 "MKCOL /b HTTP/2.0" 423 181 0.028 curl\n')
        file.write('{"level":"info","method":"PUT","status":500,"path":"/c"}\n')
        file.write('{"level":"info","method":"PUT","status":200,"path":"/data"}\n')
        file.write('{"level":"error","message":"not a request"}\n')
        file.write('127.0.0.1 "GET /half')
    found = counted.new_requests()
    assert found == {"MKCOL 423": 1, "PUT 201": 1, "PUT 500": 1}
    assert server_meters.refused(found) == {"MKCOL 423": 1, "PUT 500": 1}
    with log.open("a") as file:
        file.write(' HTTP/1.1" 200 1\n')
    assert counted.new_requests() == {"GET 200": 1}


@dataclass(frozen=True)
class LocalServer(NamedServer):
    """A server whose files are in a folder on this machine."""

    root: Path = Path()

    def remove(self, path: str) -> None:
        shutil.rmtree(self.root / path, ignore_errors=True)


def local_bench(folder: Path, columns: dict[str, Column]) -> Bench:
    server = LocalServer(URL, "other", token="t", root=folder / "webdav")
    local = Servers(folder, {"s3": URL})
    return Bench(server, "work", local, columns, None, None, lambda _: None)


def copying(folder: Path, seconds: float, change: bytes = b"") -> Column:
    """A column that copies on this machine; `change` is added to each file that it uploads."""

    def run(copies: Sequence[Copy], _: bool) -> Run:
        for source, end in copies:
            start, target = (folder / one["type"] / one["path"] for one in (source, end))
            shutil.copytree(start, target)
            for file in target.rglob("*.dat") if end["type"] == "webdav" else ():
                file.write_bytes(file.read_bytes() + change)
        return Run(seconds, 1.0, 0, attempts=2 if change else 1)

    return run


def test_second_copy_must_transfer_nothing_and_a_half_be_that_half(tmp_path: Path) -> None:
    sizes = {f"00/{n:05}.dat": 4 for n in (0, 49, 50, 99)}
    server_rows.fill(tmp_path / "s3/source", "server-small", sizes)
    assert sorted(server_rows.every_second(sizes)) == ["00/00000.dat", "00/00049.dat"]

    def run(copies: Sequence[Copy], _: bool) -> Run:
        source, end = (tmp_path / one["type"] / one["path"] for one in copies[0])
        is_second = end.exists()
        shutil.copytree(source, end, dirs_exist_ok=True)
        return Run(1.0, 1.0, 0, transferred=4 if is_second else 0)

    def half(copies: Sequence[Copy], _: bool) -> Run:
        done = run(copies, False)
        for file in (tmp_path / "s3" / copies[0][1]["path"]).rglob("*[5-9]?.dat"):
            file.unlink()
        return done

    server = LocalServer(URL, "other", token="t", root=tmp_path / "webdav")
    local = Servers(tmp_path, {"s3": URL})
    both = {"rclone copy": run, "efss-transfer": run}
    halves = {"rclone copy": run, "efss-transfer": half}
    bench = Bench(server, "work", local, both, None, None, lambda _: None, halves)
    rows = {row.way: row for row in bench.measure("server-small", sizes, 1)}
    assert rows["a second time"].failed["efss-transfer"] == "transferred 4 files"
    assert rows["every second file down"].files == 2
    assert list(rows["every second file down"].failed) == ["rclone copy"]
    assert not rows["up"].failed | rows["down"].failed


def measured(folder: Path, columns: dict[str, Column]) -> dict[str, dict[str, Any]]:
    file = folder / "s3/source/server-small/00/00000.dat"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"content")
    rows = local_bench(folder, columns).measure("server-small", {"00/00000.dat": 7}, 2)
    assert not list((folder / "webdav").rglob("*.dat"))
    return {row.way: vars(row) for row in rows}


def test_ratio_is_to_the_better_rclone(tmp_path: Path) -> None:
    seconds = {"rclone copy": 4.0, "expert": 2.0, "efss-transfer": 3.0}
    rows = measured(tmp_path, {name: copying(tmp_path, own) for name, own in seconds.items()})
    assert rows["up"]["ratio"] == rows["down"]["ratio"] == 1.5
    assert rows["up"]["server_cpu_ratio"] is None, "it was not measured"
    assert rows["up"]["columns"]["expert"]["all_seconds"] == [2.0, 2.0]


def test_changed_byte_is_found_by_another_program(tmp_path: Path) -> None:
    columns = {
        "rclone copy": copying(tmp_path, 1.0),
        "expert": copying(tmp_path, 1.0),
        "efss-transfer": copying(tmp_path, 1.0, b"!"),
    }
    rows = measured(tmp_path, columns)
    assert not rows["up"]["failed"]
    assert rows["down"]["failed"] == {
        "expert": "differs from the source, uploaded by efss-transfer"
    }
    assert rows["down"]["ratio"] == 1.0


def test_failed_program_is_reported_without_its_secret(tmp_path: Path) -> None:
    def failing(copies: Sequence[Copy], _: bool) -> Run:
        raise CopyFailed(f"refused {copies[0][1]['parameters'].get('bearer_token', 't')}")

    columns = {
        "rclone copy": copying(tmp_path, 1.0),
        "expert": failing,
        "efss-transfer": copying(tmp_path, 1.0),
    }
    rows = measured(tmp_path, columns)
    assert rows["up"]["failed"] == {"expert": "refused ***"}
    assert rows["up"]["ratio"] == 1.0
    assert "upload by expert failed" in rows["down"]["failed"]["rclone copy"]


def test_table_shows_attempts_and_refusals() -> None:
    column = {
        "seconds": 2.0,
        "cpu_seconds": 1.0,
        "server_cpu_seconds": 30.0,
        "attempts": [1, 2],
        "requests": [{"PUT 201": 8, "MKCOL 423": 2}, {"PUT 201": 9, "PUT 412": 1}],
    }
    row = {
        "title": "10 files",
        "way": "up",
        "files": 5,
        "columns": {"efss-transfer": column},
        "ratio": 0.5,
        "server_cpu_ratio": 0.75,
        "failed": {"expert": "no space"},
    }
    console = Console(width=200, record=True, file=StringIO())
    console.print(server_run.table([row]))
    text = console.export_text()
    assert "MKCOL 423: 2, PUT 412: 1" in text
    for cell in ("0.50", "0.75", "2.00 s", "30 s", "no space"):
        assert cell in text, cell


@pytest.mark.slow
def test_gateway_is_compared_with_none() -> None:
    done = subprocess.run(
        [*COMMAND, "--quick", "--json", "--rows=gateway"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["gateway"]
    assert len(rows) == len(gateway.COMPARISONS) == 8
    assert sum(row["tls"] for row in rows) == 2
    for row in rows:
        assert not row["failed"]
        assert row["wall_ratio"] > 0
        assert row["cpu_ratio"] > 0
        for column in row["columns"].values():
            assert column["cpu_seconds"] > 0
