"""`efss-transfer plan`, run as a person and as a program run it."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from efss_transfer.cli.main import main
from support import http_servers, service_process
from support.cli_user import User
from support.contract import complaints
from support.service_process import LOOPBACK, Function
from support.storages import Storage

COMMAND = str(Path(sys.executable).parent / "efss-transfer")


def run(*arguments: str, body: Any = None) -> Result:
    """The command with these arguments, in this process; a request is on its standard input."""
    return CliRunner().invoke(
        main, ["plan", *arguments], input=None if body is None else json.dumps(body)
    )


@pytest.fixture
def request_of(webdav: Storage, s3: Storage) -> dict[str, Any]:
    webdav.fill("commanded", {f"{n}.txt": b"x" * 1000 for n in range(20)})
    return {"source": webdav.endpoint("commanded"), "destination": s3.endpoint("commanded")}


def test_plan_is_printed_as_a_table(
    function: Function, request_of: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps({**request_of, "plan": {"rate": 1}}))
    ended = run(str(file), "--url", function.url, "--rate=2e6", "--files-per-second=1")
    assert (ended.exit_code, ended.stderr) == (0, "")
    rows = dict(line.split("  ", 1) for line in ended.stdout.splitlines())
    told = {name.strip(): what.strip() for name, what in rows.items()}
    assert told["to copy"] == "20 files, 19.5 KiB"
    assert told["largest file"].startswith("1000 B, ")
    assert told["assumed rates"] == "1.9 MiB/s, 1 small files/s (given)"
    assert told["time limit"] == "1 h 00 min per invocation"
    # The seconds include those of the survey, which a busy machine makes longer.
    assert re.fullmatch(r"1, 20 files, 19\.5 KiB, [2-5][0-9] s.*", told["shards"])


def test_endpoints_are_planned_as_they_are_copied(user: User, webdav: Storage, name: str) -> None:
    webdav.fill(name, {"a.h5": b"a" * 300, "b.txt": b"b"})
    ends = (f"cloud:{name}", f"archive:{name}")
    told = user.run("plan", *ends, "--include", "*.h5", "--rate", "1000000")
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("to copy         1 file, 300 B\n")
    misspelt = user.run("plan", "cluod:x", "archive:x")
    assert misspelt.returncode == 1
    assert "Did you mean `cloud`?" in misspelt.stderr
    one = user.run("plan", ends[0])
    assert one.returncode == 2
    file = user.write("request.json", {})
    for words in ((), (file, *ends), (file, "--include", "*.h5")):
        told = user.run("plan", *words)
        assert told.returncode == 2
        assert "Give SOURCE and DESTINATION" in told.stderr


@pytest.mark.parametrize("command", ["copy", "plan"])
def test_path_on_this_machine_is_told_what_to_use_instead(command: str, user: User) -> None:
    (user.home / "here").mkdir()
    for path in ("/data", "./data", "~/data", "here"):
        told = user.run(command, path, "archive:x")
        assert told.returncode == 2
        assert f"{path!r} is a path on this machine" in told.stderr
        assert "rclone" in told.stderr


def test_json_prints_the_plan(function: Function, request_of: dict[str, Any]) -> None:
    ended = run("-", "--url", f"{function.url}/", "--seconds", "5", "--json", body=request_of)
    assert (ended.exit_code, ended.stderr) == (0, "")
    plan = json.loads(ended.stdout)
    assert complaints("plan", plan) == []
    assert (plan["files"], plan["seconds"]["limit"]) == (20, 5)


def test_impossible_transfer_exits_with_1_and_says_why(
    function: Function, request_of: dict[str, Any]
) -> None:
    url = ("--url", function.url)
    ended = run("-", *url, "--rate", "1", "--seconds", "60", body=request_of)
    assert ended.exit_code == 1
    assert "20 files" in ended.stdout
    assert ended.stderr.startswith("too_large: The largest file has 1000 bytes and takes 1000 s")
    ended = run("-", *url, "--json", "--rate", "1", "--seconds", "60", body=request_of)
    assert ended.exit_code == 1
    assert json.loads(ended.stdout)["code"] == "too_large"
    ended = run("-", *url, "--rate", "0", body=request_of)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "/plan/rate: Must be at least 1." in ended.stderr


def test_invalid_file_or_service_is_reported_without_a_traceback(
    tmp_path: Path, webdav: Storage, request_of: dict[str, Any]
) -> None:
    (tmp_path / "no.json").write_text("{")
    cases = {
        "is not JSON": run(str(tmp_path / "no.json")),
        "gave no plan": run("-", "--url", "http://127.0.0.1:1", body=request_of),
        "is not an efss-transfer service": run(
            "-", "--url", webdav.parameters["url"], body=request_of
        ),
    }
    for text, ended in cases.items():
        assert (ended.exit_code, ended.stdout) == (1, ""), text
        assert text in ended.stderr
        assert isinstance(ended.exception, SystemExit), text
        assert webdav.parameters["pass"] not in ended.stderr


def test_redirect_does_not_get_the_request(request_of: dict[str, Any]) -> None:
    came: list[str] = []

    def other(handler: http.server.BaseHTTPRequestHandler) -> None:
        came.append(handler.path)
        http_servers.reply(handler, 404)

    with http_servers.misbehaving(other) as elsewhere:

        def away(handler: http.server.BaseHTTPRequestHandler) -> None:
            handler.send_response(307)
            handler.send_header("Location", f"{elsewhere}/plan")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        with http_servers.misbehaving(away) as url:
            ended = run("-", "--url", url, body=request_of)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "is not an efss-transfer service" in ended.stderr
    assert came == []


def test_missing_source_is_reported(
    function: Function, request_of: dict[str, Any], webdav: Storage
) -> None:
    missing = {**request_of, "source": webdav.endpoint("nowhere")}
    ended = run("-", "--url", function.url, body=missing)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr.startswith("source_not_found: ")
    as_json = run("-", "--url", function.url, "--json", body=missing)
    assert json.loads(as_json.stdout)["code"] == "source_not_found"


@pytest.fixture
def asking() -> Iterator[Function]:
    token = {"caller": "alice", "sha256": hashlib.sha256(b"canary-token").hexdigest()}
    site = {**LOOPBACK, "authentication": {"mode": "tokens", "tokens": [token]}}
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        (runtime := Path(folder) / "run").mkdir()
        with service_process.function(runtime, site=site) as running:
            yield running


@pytest.mark.slow
def test_token_is_read_from_a_file(
    asking: Function, request_of: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("canary-token\n")
    url = ("--url", asking.url)
    assert run("-", *url, "--token-file", str(tmp_path / "token"), body=request_of).exit_code == 0
    ended = run("-", *url, body=request_of)
    assert (ended.exit_code, ended.stderr.partition(":")[0]) == (1, "unauthenticated")


def test_help_shows_an_example() -> None:
    ended = subprocess.run([COMMAND, "plan", "--help"], capture_output=True, text=True, check=True)
    assert "efss-transfer plan request.json --seconds 840" in ended.stdout
