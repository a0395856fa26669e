"""`efss-transfer` as a person in a terminal, and as a program behind a pipe, sees it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import requests

from efss_transfer.cli import main
from support import contract, http_servers, service_process
from support import storages as servers
from support.doc_blocks import REFERENCE, blocks
from support.service_process import Function
from support.storages import Storage
from support.terminal import CTRL_C, LISTENING, Terminal, terminal

PROGRAM = Path(sys.executable).parent / "efss-transfer"


@dataclass
class User:
    """Somebody with a home of their own, who calls a service."""

    home: Path
    environment: dict[str, str]

    def run(self, *words: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        """In a pipe; nothing that goes wrong may show a traceback."""
        environment = {**self.environment, **more.pop("environment", {})}
        done = subprocess.run(
            [PROGRAM, *words],
            env=environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=120,
            **more,
        )
        assert "Traceback" not in done.stdout + done.stderr
        return done

    @contextmanager
    def before(self, *words: str | Path, columns: int = 100, **more: str) -> Iterator[Terminal]:
        """In a terminal."""
        with terminal(
            [PROGRAM, *words], {**self.environment, **more}, columns=columns, cwd=self.home
        ) as screen:
            yield screen
        assert "Traceback" not in screen.text

    @contextmanager
    def started(self, *words: str | Path) -> Iterator[subprocess.Popen[str]]:
        """In a pipe, while it runs."""
        with subprocess.Popen(
            [*LISTENING, PROGRAM, *words],
            env=self.environment,
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def know(self, **endpoints: Any) -> None:
        """Write the endpoints file."""
        file = self.home / ".config" / "efss-transfer" / "endpoints.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(toml(endpoints))
        file.chmod(0o600)

    def write(self, name: str, content: Any) -> Path:
        """Write a file of JSON."""
        file = self.home / name
        file.write_text(json.dumps(content))
        return file


def toml(endpoints: dict[str, dict[str, Any]]) -> str:
    """As TOML; a text of JSON is one of TOML as well."""
    lines = []
    for name, it in endpoints.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(it[key])}" for key in ("type", "path") if key in it]
        lines.append(f"[{name}.parameters]")
        for key, value in it.get("parameters", {}).items():
            inner = (
                "{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in value.items()) + "}"
                if isinstance(value, dict)
                else json.dumps(value)
            )
            lines.append(f"{key} = {inner}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def user(tmp_path: Path, function: Function, webdav: Storage, s3: Storage) -> User:
    """Somebody who knows two storages: `cloud`, with a password in a variable, and `archive`."""
    home = tmp_path / "home"
    home.mkdir()
    keep = {name: os.environ[name] for name in ("PATH",)}
    made = User(
        home,
        {
            **keep,
            "HOME": str(home),
            "NO_PROXY": "127.0.0.1",
            "LANG": "C.UTF-8",
            "EFSS_TRANSFER_URL": function.url,
            "CLOUD_PASSWORD": str(webdav.parameters["pass"]),
        },
    )
    cloud = {**webdav.parameters, "pass": {"env": "CLOUD_PASSWORD"}}
    made.know(
        cloud={"type": "webdav", "parameters": cloud},
        archive={"type": "s3", "path": "bucket", "parameters": s3.parameters},
    )
    return made


@pytest.fixture
def name() -> str:
    return uuid.uuid4().hex


def test_copy_in_a_pipe(user: User, webdav: Storage, s3: Storage, name: str) -> None:
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


def test_copy_in_a_terminal(user: User, s3: Storage, name: str) -> None:
    with http_servers.slow_source(400_000, 200_000, files=2) as slow:
        user.know(
            slow={"type": "webdav", "parameters": slow.parameters},
            archive={"type": "s3", "path": "bucket", "parameters": s3.parameters},
        )
        with user.before("copy", "slow:data", f"archive:{name}") as screen:
            screen.wait_for("Copying")
            screen.wait_for("0 of 2 files")
            screen.wait_for("0.bin")
            assert screen.end() == 0
    assert re.search(r"[01] of 2 files, \d+ s left", screen.text)
    assert re.search(r"[\d.]+ KiB of 781.2 KiB, [\d.]+ (KiB|B)/s", screen.text)
    assert "━" in screen.text
    assert "Copy complete.\n2 files copied, 781.2 KiB, in " in screen.text
    assert len(s3.hashes(f"bucket/{name}")) == 2


@pytest.mark.slow
def test_a_narrow_terminal_without_colours(user: User, s3: Storage, name: str) -> None:
    with http_servers.slow_source(200_000, 200_000) as slow:
        user.know(
            slow={"type": "webdav", "parameters": slow.parameters},
            archive={"type": "s3", "path": "bucket", "parameters": s3.parameters},
        )
        with user.before(
            "copy", "slow:data", f"archive:{name}", columns=40, NO_COLOR="1"
        ) as screen:
            assert screen.end() == 0
    assert "Copy complete." in screen.text
    assert not re.search(r"\x1b\[[\d;]*3\dm", screen.raw)


def test_failures_are_told_at_the_end(user: User, webdav: Storage, name: str) -> None:
    webdav.fill(name, {"good.txt": b"a"})
    (user.home / "list").write_text("good.txt\n[bold]gone.txt\n")
    words = ["copy", "--files-from", "list", f"cloud:{name}", f"archive:{name}"]
    with user.before(*words) as screen:
        assert screen.end() == 4
    assert "Failures" in screen.text
    assert "source_not_found" in screen.text
    assert "[bold]gone.txt" in screen.text
    in_a_pipe = user.run(*words, "--quiet")
    assert (in_a_pipe.returncode, in_a_pipe.stderr) == (4, "")
    assert "Some files were not copied.\n" in in_a_pipe.stdout
    assert "failed: 1 file, source_not_found at the source" in in_a_pipe.stdout
    assert "  [bold]gone.txt: " in in_a_pipe.stdout


def test_json_is_for_programs(user: User, webdav: Storage, name: str) -> None:
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


def test_json_of_what_was_refused(user: User) -> None:
    done = user.run("copy", "--json", "cloud:x", "nowhere:x")
    assert done.returncode == 7
    (told,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (told["event"], told["code"], told["status"]) == ("problem", "forbidden", 403)
    assert told["errors"][0]["pointer"] == "/destination/storage"
    gone = user.run("copy", "--json", "--retries=0", "--url", nobody(), "cloud:x", "nowhere:x")
    assert json.loads(gone.stdout)["code"] == "service_unreachable"
    assert json.loads(gone.stdout)["retryable"] is True


def nobody() -> str:
    """A URL at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_options_arrive(user: User, webdav: Storage, s3: Storage, name: str) -> None:
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


def test_secrets_by_descriptor_file_and_prompt(
    user: User, webdav: Storage, s3: Storage, name: str
) -> None:
    hashes = webdav.fill(name, {"a": b"a"})
    keys = {**s3.parameters, "secret_access_key": {"file": "~/key"}}
    (user.home / "key").write_text(s3.parameters["secret_access_key"] + "\n")
    archive = {"type": "s3", "path": "bucket", "parameters": keys}
    del user.environment["CLOUD_PASSWORD"]

    def know(reference: dict[str, Any]) -> None:
        cloud = {**webdav.parameters, "pass": reference}
        user.know(cloud={"type": "webdav", "parameters": cloud}, archive=archive)

    know({"fd": 0})
    secret = webdav.parameters["pass"]
    done = user.run("copy", f"cloud:{name}", f"archive:{name}", input=secret)
    assert done.returncode == 0, done.stderr
    assert s3.hashes(f"bucket/{name}") == hashes
    know({"prompt": "Password of the cloud"})
    with user.before("copy", f"cloud:{name}", f"archive:{name}") as screen:
        screen.wait_for("Password of the cloud")
        screen.press(secret.encode() + b"\n")
        assert screen.end() == 0
    assert secret not in screen.raw
    with subprocess.Popen(
        [PROGRAM, "copy", f"cloud:{name}", f"archive:{name}"],
        env=user.environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "no terminal is available" in error


@pytest.mark.slow
def test_run(user: User, webdav: Storage, s3: Storage, name: str) -> None:
    hashes = webdav.fill(name, {"a.txt": b"a"})
    request = {"source": webdav.endpoint(name), "destination": s3.endpoint(name)}
    file = user.write("request.json", request)
    done = user.run("run", file)
    assert done.returncode == 0, done.stderr
    assert s3.hashes(f"bucket/{name}") == hashes
    piped = user.run("run", "--json", "-", input=json.dumps(request))
    assert json.loads(piped.stdout.splitlines()[-1])["totals"]["files"]["skipped"] == 1
    with user.before("run", file) as screen:
        assert screen.end() == 0
    assert "1 skipped" in screen.text


def local(user: User, tmp_path: Path) -> Path:
    """Let this user's own process reach these storages; where it works."""
    runtime = tmp_path / "run"
    runtime.mkdir()
    user.environment["EFSS_TRANSFER_RUNTIME_DIR"] = str(runtime)
    user.environment["EFSS_TRANSFER_SITE"] = str(user.write("local.json", service_process.LOOPBACK))
    return runtime


@pytest.mark.slow
def test_local_needs_no_server(
    user: User, tmp_path: Path, webdav: Storage, s3: Storage, name: str
) -> None:
    hashes = webdav.fill(name, {"a.txt": b"a", "b.bin": os.urandom(50_000)})
    runtime = local(user, tmp_path)
    user.environment["EFSS_TRANSFER_URL"] = nobody()
    done = user.run("copy", "--local", f"cloud:{name}", f"archive:{name}")
    assert done.returncode == 0, done.stderr
    assert re.match(r"(Copying: .*\n)*\Z", done.stderr)
    assert s3.hashes(f"bucket/{name}") == hashes
    service_process.wait_clean(runtime, 5)
    del user.environment["EFSS_TRANSFER_SITE"]
    refused = user.run("copy", "--local", f"cloud:{name}", f"archive:{name}")
    assert refused.returncode == 7
    assert "/source/parameters/url: This host's address is not public" in refused.stderr
    user.environment["EFSS_TRANSFER_BODY_BYTES"] = "much"
    wrong = user.run("copy", "--local", f"cloud:{name}", f"archive:{name}")
    assert wrong.returncode == 2
    assert "EFSS_TRANSFER_BODY_BYTES" in wrong.stderr


@pytest.mark.parametrize(
    ("where", "way"),
    [
        ("service", "terminal"),
        pytest.param("service", "SIGINT", marks=pytest.mark.slow),
        pytest.param("service", "SIGTERM", marks=pytest.mark.slow),
        pytest.param("local", "terminal", marks=pytest.mark.slow),
        pytest.param("local", "SIGINT", marks=pytest.mark.slow),
        pytest.param("local", "SIGTERM", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_copy_is_cancelled(
    user: User, function: Function, tmp_path: Path, s3: Storage, name: str, where: str, way: str
) -> None:
    runtime = function.runtime_dir
    words = ["copy", "slow:data", f"archive:{name}"]
    if where == "local":
        runtime = local(user, tmp_path)
        words.append("--local")
    with http_servers.slow_source(20_000_000, 200_000) as slow:
        user.know(
            slow={"type": "webdav", "parameters": slow.parameters},
            archive={"type": "s3", "path": "bucket", "parameters": s3.parameters},
        )
        if way == "terminal":
            with user.before(*words) as screen:
                screen.wait_for("KiB of 19.1 MiB")
                screen.press(CTRL_C)
                assert screen.end(20) == 130
            text = screen.text
        else:
            with user.started(*words, "--json") as process:
                assert process.stdout is not None
                while '"event":"progress"' not in (line := process.stdout.readline()):
                    assert line, "it ended before there was any progress"
                process.send_signal(signal.Signals[way])
                text = process.stdout.read()
                assert process.wait(20) == {"SIGINT": 130, "SIGTERM": 143}[way]
        service_process.wait_clean(runtime, 10)
    assert "ancelled" in text
    assert "Traceback" not in text
    assert s3.hashes(f"bucket/{name}") == {}


@pytest.mark.slow
def test_who_reads_no_more_ends_it(user: User, function: Function, s3: Storage, name: str) -> None:
    with http_servers.slow_source(20_000_000, 200_000) as slow:
        user.know(
            slow={"type": "webdav", "parameters": slow.parameters},
            archive={"type": "s3", "path": "bucket", "parameters": s3.parameters},
        )
        done = subprocess.run(
            [
                "/bin/sh",
                "-c",
                '"$0" copy --json slow:data "$1" | head -n 1',
                str(PROGRAM),
                f"archive:{name}",
            ],
            env=user.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        function.wait_clean(10)
    assert json.loads(done.stdout)["event"] == "started"
    assert done.stderr == ""


@pytest.mark.slow
def test_a_copy_that_needs_four_invocations_is_one_command(
    user: User, tmp_path: Path, webdav: Storage, s3: Storage, name: str
) -> None:
    hashes = webdav.fill(name, {f"{n // 10}/{n:02}": os.urandom(500_000) for n in range(56)})
    runtime = tmp_path / "run"
    runtime.mkdir()
    # The platform's limit, and not the caller's: 28 MB at 1 MB/s within ten seconds each.
    with service_process.function(runtime, DURATION_SECONDS="10") as function:
        user.environment["EFSS_TRANSFER_URL"] = function.url
        words = ["copy", "--bandwidth-limit", "1000000", f"cloud:{name}", f"archive:{name}"]
        with user.before(*words) as screen:
            assert screen.end(300) == 0
        function.wait_clean()
    assert s3.hashes(f"bucket/{name}") == hashes
    found = re.search(
        r"56 files copied, 26.7 MiB, in .*, (\d+) invocations; 0 skipped", screen.text
    )
    assert found is not None, screen.text
    assert int(found[1]) >= 4
    assert (
        screen.text.count("The service's time limit was reached. Resuming: invocation")
        == int(found[1]) - 1
    )


@pytest.mark.slow
def test_invocations_are_bounded(user: User, s3: Storage, name: str) -> None:
    with http_servers.slow_source(200_000, 100_000, files=40) as slow:
        user.know(
            slow={"type": "webdav", "parameters": slow.parameters},
            archive={"type": "s3", "path": "bucket", "parameters": s3.parameters},
        )
        # Four at a time, of two seconds each: what is chosen for files of this size is all forty
        # at once, and they would arrive.
        words = ["copy", "slow:data", f"archive:{name}", "--deadline", "5", "--transfers", "4"]
        done = user.run(*words, "--max-invocations", "1")
        assert done.returncode == 10, done.stderr
        assert done.stdout.startswith(
            "Copy incomplete: the time limit was reached. To continue, run the same command again."
        )
        always = user.run(*words, "--overwrite", "always")
        assert always.returncode == 10
        assert "--overwrite always would copy everything again" in always.stderr
    with http_servers.slow_source(20_000_000, 100_000) as slow:
        user.know(
            slow={"type": "webdav", "parameters": slow.parameters},
            archive={"type": "s3", "path": "bucket", "parameters": s3.parameters},
        )
        stalled = user.run("copy", "slow:data", f"archive:{name}x", "--deadline", "2")
        assert stalled.returncode == 10
        assert stalled.stderr.count("Resuming: invocation") == 2
        assert "Stopped: no file arrived in 3 invocations" in stalled.stderr


@pytest.mark.slow
def test_tokens(user: User, tmp_path: Path, webdav: Storage, s3: Storage, name: str) -> None:
    webdav.fill(name, {"a": b"a"})
    token = servers.password()
    sha256 = servers.digest(token.encode())
    mode = {"mode": "tokens", "tokens": [{"caller": "alice", "sha256": sha256}]}
    (tmp_path / "run").mkdir()
    words = ["copy", f"cloud:{name}", f"archive:{name}"]
    with service_process.function(
        tmp_path / "run", site={**service_process.LOOPBACK, "authentication": mode}
    ) as function:
        user.environment["EFSS_TRANSFER_URL"] = function.url
        none = user.run(*words)
        assert none.returncode == 7
        assert "efss-transfer: unauthenticated:" in none.stderr
        wrong = user.run(*words, environment={"EFSS_TRANSFER_TOKEN": "canary-wrong"})
        assert wrong.returncode == 7
        assert "canary-wrong" not in wrong.stdout + wrong.stderr
        assert user.run(*words, environment={"EFSS_TRANSFER_TOKEN": token}).returncode == 0
        (user.home / "token").write_text(token + "\n")
        assert user.run(*words, "--token-file", "token").returncode == 0
        assert user.run(*words, "--token-fd", "0", input=token).returncode == 0
    for words_of_it in (["--token-file", "nowhere"], ["--token-fd", "77"]):
        assert user.run(*words, *words_of_it).returncode == 2
    assert user.run(*words, "--token-fd", "0", "--token-file", "token").returncode == 2
    sick = user.run(*words, environment={"EFSS_TRANSFER_TOKEN": f"{token} x"})
    assert sick.returncode == 2
    assert token not in sick.stderr


@pytest.mark.slow
def test_a_service_that_is_not_there(user: User) -> None:
    gone = nobody()
    done = user.run("copy", "--url", gone, "--retries", "1", "cloud:x", "archive:x")
    assert done.returncode == 5
    assert done.stderr.count("refused or closed the connection") == 2
    assert "Retrying in 1 s." in done.stderr
    with user.before("copy", "--url", gone, "--retries", "0", "cloud:x", "archive:x") as screen:
        assert screen.end() == 5
    assert "efss-transfer: service_unreachable:" in screen.text


@pytest.mark.slow
def test_what_needs_no_service(user: User) -> None:
    """In a terminal and in a pipe; the rest of it is in the unit tests."""
    user.environment["EFSS_TRANSFER_URL"] = nobody()
    bad = user.write("bad.json", {"callers": {}})
    for words, code, said in (
        (["validate", bad], 1, "/callers"),
        (["site", "check", bad], 1, "/callers"),
        (["schema", "problem"], 0, '"title": "Problem"'),
        (["completion", "bash"], 0, "_EFSS_TRANSFER_COMPLETE"),
    ):
        with user.before(*words) as screen:
            assert screen.end() == code
        assert said in screen.text
        done = user.run(*words)
        assert done.returncode == code
        assert said in done.stdout + done.stderr


@pytest.mark.slow
def test_serve(user: User, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    user.environment["EFSS_TRANSFER_RUNTIME_DIR"] = str(tmp_path / "run")
    # Whoever calls a service may serve one: what is set for the one does not stop the other.
    user.environment |= {"EFSS_TRANSFER_TOKEN": "x", "DEBUG": "1"}
    with user.started("serve", "--port", "0") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"Listening at: (http://127\.0\.0\.1:\d+)", line):
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
    service_process.wait_clean(tmp_path / "run", 5)
    assert user.run("serve", "--host", "").returncode == 2


def commands(group: click.Group, *before: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command, with the words that name it."""
    yield before, group
    for called, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *before, called)
        else:
            yield (*before, called), command


COMMANDS = {" ".join(words): command for words, command in commands(main.main)}


def examples() -> list[str]:
    """Every command line that help shows; those of the documents are run with their pages."""
    shown = [
        line.strip()
        for command in COMMANDS.values()
        for line in (command.help or "").splitlines()
        if line.strip().startswith("efss-transfer ")
    ]
    # deploy/README.md has it for any site file.
    shown.append("efss-transfer site check deploy/site.example.json")
    return list(dict.fromkeys(shown))


@pytest.mark.slow
@pytest.mark.parametrize("example", [it for it in examples() if " serve" not in it])
def test_every_example_works(
    user: User, tmp_path: Path, webdav: Storage, s3: Storage, example: str
) -> None:
    """As it is, in a home that has what it speaks of."""
    local(user, tmp_path)
    mine, there = uuid.uuid4().hex, uuid.uuid4().hex
    for folder in ("Measurements", "raw"):
        webdav.fill(f"{mine}/{folder}", {"a.h5": b"a", "b.txt": b"b"})
    cloud = {**webdav.parameters, "pass": {"env": "CLOUD_PASSWORD"}}
    target = {"type": "s3", "path": f"bucket/{there}", "parameters": s3.parameters}
    user.know(
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
    user.environment["PATH"] = f"{PROGRAM.parent}:{user.environment['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-c", example],
        env=user.environment,
        cwd=user.home,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, (example, done.stderr)


def test_there_are_examples() -> None:
    words = {" ".join(example.split()[:2]) for example in examples()}
    assert words >= {
        f"efss-transfer {it}"
        for it in ("copy", "run", "validate", "schema", "site", "serve", "completion")
    }


@pytest.mark.slow
def test_names_that_a_terminal_has_no_letters_for(
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
