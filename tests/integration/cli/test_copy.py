"""`efss-transfer copy` and `run`: options, output and results, in a terminal and in a pipe."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from support import contract, http_servers, service_process
from support.cli_user import User, unused_url
from support.storages import Storage


def test_copy_in_a_pipe_prints_a_summary_and_skips_unchanged_files(
    user: User, webdav: Storage, s3: Storage, name: str
) -> None:
    hashes = webdav.fill(name, {"a.txt": b"a", "b/c.bin": os.urandom(100_000)})
    done = user.run("copy", f"cloud:{name}", f"archive:{name}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Copy complete.\n2 files copied, 97.7 KiB, in ")
    assert "\x1b" not in done.stdout + done.stderr
    assert s3.hashes(f"bucket/{name}") == hashes
    again = user.run("copy", f"cloud:{name}", f"archive:{name}")
    assert "0 files copied, 0 B, in " in again.stdout
    assert "2 skipped, 0 failed.\nSkipped: 2 unchanged.\n" in again.stdout
    nothing = user.run("copy", "--error-on-no-transfer", f"cloud:{name}", f"archive:{name}")
    assert nothing.returncode == 9


def test_copy_in_a_terminal_shows_progress_bars(user: User, s3: Storage, name: str) -> None:
    with http_servers.slow_source(800_000, 200_000, files=2) as slow:
        user.write_endpoints(
            slow={"type": "webdav", "parameters": slow.parameters},
            archive={"type": "s3", "path": "bucket", "parameters": s3.parameters},
        )
        with user.in_terminal("copy", "slow:data", f"archive:{name}") as screen:
            screen.wait_for("Copying")
            screen.wait_for("0 of 2 files")
            screen.wait_for("0.bin")
            assert screen.end() == 0
    assert re.search(r"[01] of 2 files, \d+ s left", screen.text)
    assert re.search(r"[\d.]+ [KM]iB of 1.5 MiB, [\d.]+ (KiB|B)/s", screen.text)
    assert "━" in screen.text
    assert "Copy complete.\n2 files copied, 1.5 MiB, in " in screen.text
    assert len(s3.hashes(f"bucket/{name}")) == 2


@pytest.mark.slow
def test_narrow_terminal_with_no_color_gets_no_colours(user: User, s3: Storage, name: str) -> None:
    with http_servers.slow_source(200_000, 200_000) as slow:
        user.write_endpoints(
            slow={"type": "webdav", "parameters": slow.parameters},
            archive={"type": "s3", "path": "bucket", "parameters": s3.parameters},
        )
        with user.in_terminal(
            "copy", "slow:data", f"archive:{name}", columns=40, NO_COLOR="1"
        ) as screen:
            assert screen.end() == 0
    assert "Copy complete." in screen.text
    assert not re.search(r"\x1b\[[\d;]*3\dm", screen.raw)


def test_failed_files_are_listed_at_the_end(user: User, webdav: Storage, name: str) -> None:
    webdav.fill(name, {"good.txt": b"a"})
    (user.home / "list").write_text("good.txt\n[bold]gone.txt\n")
    words = ["copy", "--files-from", "list", f"cloud:{name}", f"archive:{name}"]
    with user.in_terminal(*words) as screen:
        assert screen.end() == 4
    assert "Failures" in screen.text
    assert "source_not_found" in screen.text
    assert "[bold]gone.txt" in screen.text
    in_a_pipe = user.run(*words, "--quiet")
    assert (in_a_pipe.returncode, in_a_pipe.stderr) == (4, "")
    assert "Some files were not copied.\n" in in_a_pipe.stdout
    assert "failed: 1 file, source_not_found at the source" in in_a_pipe.stdout
    assert "  [bold]gone.txt: " in in_a_pipe.stdout


def test_json_prints_the_events_and_the_result(user: User, webdav: Storage, name: str) -> None:
    webdav.fill(name, {"a.txt": b"a", "b.txt": b"b"})
    done = user.run("copy", "--json", f"cloud:{name}", f"archive:{name}", "--id", "run-42")
    assert (done.returncode, done.stderr) == (0, "")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    for event in events:
        assert contract.complaints("event", event) == []
    assert events[0]["event"] == "started"
    assert events[-1]["event"] == "result"
    assert events[-1]["id"] == "run-42"
    assert events[-1]["totals"]["files"]["transferred"] == 2
    assert {it["path"] for it in events if it["event"] == "file"} == {"a.txt", "b.txt"}


def test_json_prints_a_problem_if_the_request_is_refused(user: User) -> None:
    done = user.run("copy", "--json", "cloud:x", "nowhere:x")
    assert done.returncode == 7
    (told,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (told["event"], told["code"], told["status"]) == ("problem", "forbidden", 403)
    assert told["errors"][0]["pointer"] == "/destination/storage"
    gone = user.run("copy", "--json", "--retries=0", "--url", unused_url(), "cloud:x", "nowhere:x")
    assert json.loads(gone.stdout)["code"] == "service_unreachable"
    assert json.loads(gone.stdout)["retryable"] is True


def test_misspelt_endpoint_is_told_the_one_in_the_file(user: User) -> None:
    done = user.run("copy", "cluod:x", "cloud:y")
    assert done.returncode == 7
    assert "'cluod' is not in your endpoints file. Did you mean `cloud`?" in done.stderr


def test_options_select_and_verify_files(
    user: User, webdav: Storage, s3: Storage, name: str
) -> None:
    files = {"a.h5": b"a", "b.txt": b"b", "tmp/c.h5": b"c", "big.h5": bytes(5000)}
    hashes = webdav.fill(name, files)
    words = f"copy --include *.h5 --exclude tmp/** --max-size 2k cloud:{name} archive:{name}"
    dry = user.run(*words.split(), "--dry-run")
    assert "Dry run: 1 file, 1 B, would be copied." in dry.stdout
    done = user.run(*words.split(), "--verify", "checksum", "--overwrite", "never")
    assert done.returncode == 0, done.stderr
    assert "Verified by checksum" in done.stdout or "Verified by size" in done.stdout
    assert s3.hashes(f"bucket/{name}") == {"a.h5": hashes["a.h5"]}
    (user.home / "list").write_text("b.txt\r\ntmp/c.h5\n")
    listed = user.run("copy", "--files-from", "list", f"cloud:{name}", f"archive:{name}")
    assert listed.returncode == 0, listed.stderr
    assert s3.hashes(f"bucket/{name}").keys() == {"a.h5", "b.txt", "tmp/c.h5"}
    missing = user.run(
        "copy", "--files-from", "-", f"cloud:{name}", f"archive:{name}", input="b.txt\nnone\n"
    )
    assert missing.returncode == 4


@pytest.mark.slow
def test_run_sends_a_request_from_a_file_or_stdin(
    user: User, webdav: Storage, s3: Storage, name: str
) -> None:
    hashes = webdav.fill(name, {"a.txt": b"a"})
    request = {"source": webdav.endpoint(name), "destination": s3.endpoint(name)}
    file = user.write("request.json", request)
    done = user.run("run", file)
    assert done.returncode == 0, done.stderr
    assert s3.hashes(f"bucket/{name}") == hashes
    piped = user.run("run", "--json", "-", input=json.dumps(request))
    assert json.loads(piped.stdout.splitlines()[-1])["totals"]["files"]["skipped"] == 1
    with user.in_terminal("run", file) as screen:
        assert screen.end() == 0
    assert "1 skipped" in screen.text


@pytest.mark.slow
def test_local_copies_without_a_service(
    user: User, tmp_path: Path, webdav: Storage, s3: Storage, name: str
) -> None:
    hashes = webdav.fill(name, {"a.txt": b"a", "b.bin": os.urandom(50_000)})
    runtime = user.copy_in_process(tmp_path)
    user.environment["EFSS_TRANSFER_URL"] = unused_url()
    done = user.run("copy", "--local", f"cloud:{name}", f"archive:{name}")
    assert done.returncode == 0, done.stderr
    assert re.match(r"(Copying: .*\n)*\Z", done.stderr)
    assert s3.hashes(f"bucket/{name}") == hashes
    service_process.wait_clean(runtime, 15)
    del user.environment["EFSS_TRANSFER_SITE"]
    refused = user.run("copy", "--local", f"cloud:{name}", f"archive:{name}")
    assert refused.returncode == 7
    assert "/source/parameters/url: This host's address is not public" in refused.stderr
    user.environment["EFSS_TRANSFER_BODY_BYTES"] = "much"
    wrong = user.run("copy", "--local", f"cloud:{name}", f"archive:{name}")
    assert wrong.returncode == 2
    assert "EFSS_TRANSFER_BODY_BYTES" in wrong.stderr


@pytest.mark.slow
def test_name_outside_the_terminals_encoding_is_escaped(
    user: User, webdav: Storage, s3: Storage, name: str
) -> None:
    webdav.fill(name, {"größe/日本.txt": b"a"})
    (user.home / "list").write_text("größe/日本.txt\nnicht-da-ü\n")
    environment = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = user.run(
        "copy", "--files-from", "list", f"cloud:{name}", f"archive:{name}", environment=environment
    )
    assert done.returncode == 4
    assert "nicht-da-\\xfc" in done.stdout
    assert len(s3.hashes(f"bucket/{name}")) == 1
