"""The commands that copy nothing, and every example that help shows."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import uuid
from pathlib import Path

import pytest
import requests

from support import service_process
from support import storages as servers
from support.cli_user import PROGRAM, User, unused_url
from support.command_examples import examples, needs_grid_storages
from support.doc_blocks import REFERENCE, blocks
from support.storages import Storage


@pytest.mark.slow
def test_offline_commands_need_no_service(user: User) -> None:
    """In a terminal and in a pipe; the rest of it is in the unit tests."""
    user.environment["EFSS_TRANSFER_URL"] = unused_url()
    bad = user.write("bad.json", {"callers": {}})
    for words, code, said in (
        (["validate", bad], 1, "/callers"),
        (["site", "check", bad], 1, "/callers"),
        (["schema", "problem"], 0, '"title": "Problem"'),
        (["completion", "bash"], 0, "_EFSS_TRANSFER_COMPLETE"),
    ):
        with user.in_terminal(*words) as screen:
            assert screen.end() == code
        assert said in screen.text
        done = user.run(*words)
        assert done.returncode == code
        assert said in done.stdout + done.stderr


@pytest.mark.slow
def test_serve_answers_until_sigint(user: User, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    user.environment["EFSS_TRANSFER_RUNTIME_DIR"] = str(tmp_path / "run")
    # Whoever calls a service may serve one: what is set for the one does not stop the other.
    user.environment |= {"EFSS_TRANSFER_TOKEN": "x", "DEBUG": "1"}
    with user.started("serve", "--port", "0") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"serving at (http://127\.0\.0\.1:\d+)", line):
                break
        else:
            raise AssertionError("it does not serve")
        with requests.Session() as session:
            session.trust_env = False
            # gunicorn waits for connections that are kept, for a while.
            session.headers["Connection"] = "close"
            assert session.get(found[1] + "/healthz", timeout=60).json()["status"] == "ok"
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(20) == 0, rest
    assert "Traceback" not in rest
    assert rest.splitlines()[-1].endswith(" INFO stopped")
    service_process.wait_clean(tmp_path / "run", 15)
    assert user.run("serve", "--host", "").returncode == 2


def test_serve_says_that_it_serves_only_when_it_does(user: User, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = user.run("serve", "--port", str(port))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        f"Error: Cannot listen on 127.0.0.1:{port} (Address already in use). "
        "Another program uses it: choose another --port.\n"
    )
    user.environment["EFSS_TRANSFER_SITE"] = str(tmp_path / "none.json")
    done = user.run("serve", "--port", "0")
    assert done.returncode == 1
    assert "The site file cannot be used" in done.stderr
    assert "serving" not in done.stdout + done.stderr


# It asks questions; test_endpoints.py answers them.
NOT_RUN = {"efss-transfer endpoints add cloud"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "example",
    [
        it
        for it in examples()
        if it not in NOT_RUN and " serve" not in it and not needs_grid_storages(it)
    ],
)
def test_every_example_works(
    user: User, tmp_path: Path, webdav: Storage, s3: Storage, example: str
) -> None:
    """As it is, in a home that has what it speaks of."""
    user.copy_in_process(tmp_path)
    mine, there = uuid.uuid4().hex, uuid.uuid4().hex
    for folder in ("Measurements", "raw"):
        webdav.fill(f"{mine}/{folder}", {"a.h5": b"a", "b.txt": b"b"})
    s3.fill(f"bucket/{there}/2026", {"old.h5": b"old"})
    cloud = {**webdav.parameters, "pass": {"env": "CLOUD_PASSWORD"}}
    target = {"type": "s3", "path": f"bucket/{there}", "parameters": s3.parameters}
    user.write_endpoints(
        cloud={"type": "webdav", "path": mine, "parameters": cloud}, archive=target, backup=target
    )
    user.write(
        "request.json",
        {"source": webdav.endpoint(f"{mine}/raw"), "destination": s3.endpoint(there)},
    )
    user.write("site.json", service_process.LOOPBACK)
    (result,) = (
        json.loads(block.content)
        for block in blocks(REFERENCE / "http-api.md")
        if block.marks == {"schema": "result"}
    )
    results = []
    for index in range(2):
        shard = {"index": index, "count": 2}
        user.write(f"result.{index}.json", {**result, "shard": shard})
        results.append((user.home / f"result.{index}.json").read_text() + "\n")
    (user.home / "results.ndjson").write_text("".join(results))
    # The service of these tests stands for all that are named.
    example = re.sub(
        r"https://(one|two)\.example\.org", user.environment["EFSS_TRANSFER_URL"], example
    )
    (user.home / "token").write_text("a-token\n")
    (user.home / "files.txt").write_text("a.h5\n")
    (user.home / "deploy").mkdir()
    text = (servers.ROOT / "deploy" / "site.example.json").read_text()
    text = re.sub(r'"file": "[^"]*"', f'"file": "{user.home / "token"}"', text)
    (user.home / "deploy" / "site.example.json").write_text(text)
    for folder in (".local/share/bash-completion/completions", ".config/fish/completions"):
        (user.home / folder).mkdir(parents=True)
    if "site.example.json" in example:
        user.environment |= dict.fromkeys(re.findall(r'"env": "(\w+)"', text), "x")
    if example == "efss-transfer init":
        example += " here"  # by default it writes below /etc
    user.environment["PATH"] = f"{PROGRAM.parent}:{user.environment['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-c", example],
        env=user.environment,
        cwd=user.home,
        input="\nhttps://transfer.example.org\nportal" + 10 * "\n",  # of init
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, (example, done.stderr)


def test_every_command_shows_examples() -> None:
    words = {" ".join(example.split()[:2]) for example in examples()}
    assert words >= {
        f"efss-transfer {it}"
        for it in ("copy", "run", "validate", "schema", "site", "serve", "completion")
    }
