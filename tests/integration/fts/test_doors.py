"""The doors to a job of an FTS server: the command, and looks by the engine itself."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from efss_transfer.cli import main
from support.cli_user import User
from support.command_examples import examples, needs_grid_storages
from support.contract import complaints
from support.fts_site import DESTINATION_TOKEN, SOURCE_TOKEN, FtsSite
from support.storages import digest

pytestmark = pytest.mark.slow

FILES = {"a": b"1", "sub/b": bytes(5000), "sub/deep/c": b"333"}
HASHES = {path: digest(content) for path, content in FILES.items()}
ENDPOINT = """\
[{name}]
type = "webdav"
[{name}.parameters]
url = "{url}"
vendor = "other"
bearer_token = "{token}"
"""
Command = Callable[..., Result]


@pytest.fixture
def command(site: FtsSite, tmp_path: Path) -> Command:
    ends = (("eos", site.source, SOURCE_TOKEN), ("dcache", site.destination, DESTINATION_TOKEN))
    file = tmp_path / "endpoints.toml"
    file.write_text("".join(ENDPOINT.format(name=n, url=dav.url, token=t) for n, dav, t in ends))
    file.chmod(0o600)

    def run(name: str, *words: str) -> Result:
        given = ["--url", site.function.url, "--endpoints", str(file), "--engine", "fts", *words]
        done = CliRunner().invoke(main.main, [name, *given])
        assert "canary" not in done.output
        return done

    return run


def test_copy_is_left_running_and_status_tells_until_it_is_complete(
    site: FtsSite, command: Command
) -> None:
    site.source.fill("data", FILES)
    ends = ("eos:data", "dcache:to")
    missing = command("status", *ends)
    assert (missing.exit_code, site.fts.jobs) == (9, {}), missing.output
    assert "Nothing runs: 3 files missing" in missing.output

    site.fts.hold.set()
    started = command("copy", "--detach", *ends)
    assert started.exit_code == 0, started.output
    assert "efss-transfer status" in started.output
    for _ in range(2):
        running = command("status", *ends)
        assert running.exit_code == 10, running.output
        assert "The copy runs" in running.output
    shown = json.loads(command("status", "--json", *ends).stdout)
    assert shown["status"] == "running"
    assert complaints("result", shown["result"]) == []
    assert len(site.fts.jobs) == 1

    site.fts.hold.clear()
    site.fts.wait_for(lambda: command("status", *ends).exit_code == 0, 60)
    assert len(site.fts.jobs) == 1
    assert site.destination.hashes("to") == HASHES
    done = command("status", *ends)
    assert done.stdout == "Copy complete: 3 files at the destination.\n"


def test_running_transfer_is_a_202_and_the_last_request_has_the_result(site: FtsSite) -> None:
    site.source.fill("data", FILES)
    site.fts.hold.set()
    answer = site.copy(detach=True)
    assert answer.status_code == 202, answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert complaints("problem", answer.json()) == []
    assert (answer.json()["code"], answer.json()["result"]["code"]) == ("still_running",) * 2
    site.fts.hold.clear()
    site.fts.wait_for(lambda: site.copy(detach=True).status_code == 200, 60)
    assert site.destination.hashes("to") == HASHES


def test_engine_lists_and_checks_a_storage_by_itself(site: FtsSite, command: Command) -> None:
    site.source.fill("data", FILES)
    listed = command("ls", "eos:data", "--json")
    assert listed.exit_code == 0, listed.output
    entries: Any = json.loads(listed.stdout)["entries"]
    assert [(it["name"], it.get("size")) for it in entries] == [("sub", None), ("a", 1)]
    before = dict(site.source.files)
    checked = command("check", "eos:data", "--write", "--json")
    assert checked.exit_code == 0, checked.output
    shown = json.loads(checked.stdout)
    assert [step["state"] for step in shown["steps"]] == ["ok"] * 4
    assert shown["server"]["checksums"] == ["adler32"]
    assert "third_party_copy" not in shown["server"]
    assert site.source.files == before
    assert site.fts.jobs == {}


def test_examples_of_help_for_grid_storages_work(site: FtsSite, tmp_path: Path) -> None:
    user = User.at(tmp_path / "home", EFSS_TRANSFER_URL=site.function.url)
    site.source.fill("run-42", FILES)
    ends = (("eos", site.source, SOURCE_TOKEN), ("dcache", site.destination, DESTINATION_TOKEN))
    user.write_endpoints(
        **{
            name: {
                "type": "webdav",
                "parameters": {"url": dav.url, "vendor": "other", "bearer_token": token},
            }
            for name, dav, token in ends
        }
    )
    shown = [shlex.split(it)[1:] for it in examples() if needs_grid_storages(it)]
    assert len(shown) >= 5
    [copy] = [it for it in shown if it[0] == "copy"]
    status = next(it for it in shown if it[0] == "status")
    left = user.run(*copy)
    assert left.returncode == 0, left.stderr
    site.fts.wait_for(lambda: user.run(*status).returncode == 0, 60)
    assert site.destination.hashes("run-42") == HASHES
    for words in shown:
        done = user.run(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
