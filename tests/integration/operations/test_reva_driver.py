"""The driver for REVA: its own tests by Debian's Go, and its copies by a running service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import faulty_webdav
from support.faulty_webdav import Faulty
from support.nginx import tool
from support.service_process import Function
from support.storages import ROOT, digest

# They need Debian's Go, and compile.
pytestmark = pytest.mark.slow
DRIVER = ROOT / "deploy" / "reva"
FILES = {"a.txt": b"1", "raw/b.bin": bytes(70_000), "empty": b""}


def go(*words: str, folder: Path) -> None:
    """Run Go without any network. Without a C compiler it compiles more of its library."""
    settings = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GOCACHE": str(folder / "cache"),
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
        "CGO_ENABLED": str(int(shutil.which("gcc") is not None)),
    }
    done = subprocess.run(
        [tool("go"), *words], cwd=DRIVER, env=settings, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def tests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver with its tests, as a program."""
    folder = tmp_path_factory.mktemp("go")
    go("vet", "./...", folder=folder)
    go("test", "-c", "-o", str(folder / "tests"), folder=folder)
    return folder / "tests"


@pytest.fixture
def source() -> Iterator[Faulty]:
    with faulty_webdav.serving() as dav:
        dav.fill("data", FILES)
        yield dav


@pytest.fixture
def destination() -> Iterator[Faulty]:
    with faulty_webdav.serving() as dav:
        yield dav


def payload(source: Faulty, *paths: str) -> str:
    entities = [
        {"@type": "File", "name": path, "url": f"{source.url}/data/{path}"} for path in paths
    ]
    return json.dumps({"@graph": entities})


def copied(tests: Path, service: Function, destination: Faulty, share: str) -> list[str]:
    """What the driver tells of a share: its error, if any, and the outcomes of files."""
    environment = {
        "TESTED_SERVICE": service.url,
        "TESTED_PAYLOAD": share,
        "TESTED_WEBDAV": destination.url,
        "TESTED_FOLDER": "/shares/one",
    }
    done = subprocess.run(
        [tests, "-test.run=TestAgainstARunningService", "-test.v"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith(("outcome", "transfer:"))]


def test_its_own_tests_pass(tests: Path) -> None:
    done = subprocess.run([tests, "-test.v"], capture_output=True, text=True, timeout=120, env={})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("--- PASS") >= 9
    assert done.stdout.rstrip().endswith("PASS")


def test_share_is_copied_and_each_file_is_reported(
    tests: Path, shared_function: Function, source: Faulty, destination: Faulty
) -> None:
    told = copied(tests, shared_function, destination, payload(source, *FILES))
    outcomes = [f"outcome transferred {path}" for path in sorted(FILES)]
    assert [line.rstrip() for line in told] == [*outcomes, "transfer: <nil>"]
    arrived = {path: digest(content) for path, content in FILES.items()}
    assert destination.hashes("shares/one") == arrived
    again = copied(tests, shared_function, destination, payload(source, *FILES))
    outcomes = [f"outcome skipped {path}" for path in sorted(FILES)]
    assert [line.rstrip() for line in again] == [*outcomes, "transfer: <nil>"]


def test_share_with_a_missing_file_is_no_success(
    tests: Path, shared_function: Function, source: Faulty, destination: Faulty
) -> None:
    told = copied(tests, shared_function, destination, payload(source, "a.txt", "gone"))
    assert told[0].rstrip() == "outcome transferred a.txt"
    assert told[1].startswith("outcome failed gone ")
    assert told[2].startswith("transfer: efss-transfer: partial: ")
    assert destination.hashes("shares/one") == {"a.txt": digest(b"1")}
