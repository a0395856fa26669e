"""What `copy` names and writes beside its summary: dry runs, `--report` and `--log-file`."""

from __future__ import annotations

import csv
import json
import re

import pytest

from support.cli_user import User
from support.storages import Storage

TIMED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ .")


def test_dry_run_names_a_screenful_and_the_report_names_all(
    user: User, webdav: Storage, s3: Storage, name: str
) -> None:
    webdav.fill(name, {f"{number:02}.txt": b"abc" for number in range(25)})
    told = user.run("copy", "-n", "--report", "all.csv", f"cloud:{name}", f"archive:{name}")
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    named = [line for line in lines if re.fullmatch(r"  \d\d\.txt \(3 B\)", line)]
    assert len(set(named)) == 20
    assert "  and 5 more: --report FILE or --json names all." in lines
    with (user.home / "all.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert sorted(row["path"] for row in rows) == [f"{number:02}.txt" for number in range(25)]
    assert {(row["state"], row["reason"], row["bytes"]) for row in rows} == {
        ("skipped", "dry_run", "3")
    }
    assert s3.hashes(f"bucket/{name}") == {}


def test_report_and_log_have_what_failed_with_its_code(user: User, webdav: Storage) -> None:
    name = "reported"
    webdav.fill(name, {'a "b", c.txt': b"a", "d\nd.txt": b"d"})
    (user.home / "list").write_text('a "b", c.txt\nnone.txt\n')
    words = ["copy", "--files-from", "list", f"cloud:{name}", f"archive:{name}"]
    told = user.run(*words, "--report", "files.csv", "--log-file", "copy.log")
    assert told.returncode == 4
    with (user.home / "files.csv").open(newline="") as opened:
        rows = {row["path"]: row for row in csv.DictReader(opened)}
    assert rows['a "b", c.txt']["state"] == "transferred"
    missing = rows["none.txt"]
    assert (missing["code"], missing["side"]) == ("source_not_found", "source")
    assert missing["retryable"] == "false"
    log = (user.home / "copy.log").read_text().splitlines()
    assert all(map(TIMED.match, log)), log
    assert any(" Failed: none.txt: source_not_found at the source: " in line for line in log)
    assert any("Some files were not copied." in line for line in log)
    again = user.run(*words, "--quiet", "--report", "files.jsonl", "--log-file", "copy.log")
    assert again.returncode == 4
    assert len((user.home / "copy.log").read_text().splitlines()) > len(log)  # appended
    outcomes = [json.loads(it) for it in (user.home / "files.jsonl").read_text().splitlines()]
    assert {it["path"]: it["state"] for it in outcomes} == {
        'a "b", c.txt': "skipped",
        "none.txt": "failed",
    }


def test_refused_transfer_is_logged(user: User) -> None:
    told = user.run("copy", "--log-file", "copy.log", "cloud:x", "nowhere:x")
    assert told.returncode == 7
    assert "efss-transfer: forbidden: " in (user.home / "copy.log").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--report", "files.txt"), "must end in .csv"),
        (("--report", "none/files.csv"), "cannot be written (No such file or directory)"),
        (("--log-file", "none/copy.log"), "cannot be written (No such file or directory)"),
    ],
)
def test_file_that_cannot_be_written_is_refused_before_the_copy(
    words: tuple[str, str], said: str, user: User, webdav: Storage, s3: Storage, name: str
) -> None:
    webdav.fill(name, {"a": b"a"})
    told = user.run("copy", *words, f"cloud:{name}", f"archive:{name}")
    assert told.returncode == 2
    assert said in told.stderr
    assert s3.hashes(f"bucket/{name}") == {}
