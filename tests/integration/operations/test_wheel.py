"""Installed from a wheel, outside the checkout: nothing of it is needed but main.py."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests

import release
from support import service_process
from support.contract import NAMES
from support.service_process import Function
from support.storages import ROOT, Storage


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and a folder with main.py alone."""
    folder = tmp_path_factory.mktemp("elsewhere")
    release.packages(folder, "wheel")
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    # As a stranger would install it: its dependencies by its own word, not by our lock.
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel],
        check=True,
        capture_output=True,
    )
    (folder / "app").mkdir()
    shutil.copy(ROOT / "functions" / "main.py", folder / "app")
    return folder


@pytest.mark.slow
def test_it_serves_and_copies(
    elsewhere: Path, tmp_path: Path, webdav: Storage, s3: Storage
) -> None:
    hashes = webdav.fill("wheel", {"a.txt": b"a", "b/c.bin": bytes(100_000)})
    (tmp_path / "run").mkdir()
    with service_process.function(
        tmp_path / "run",
        main=elsewhere / "app" / "main.py",
        command=(str(elsewhere / "venv" / "bin" / "functions-framework"),),
        cwd=elsewhere,
    ) as function:
        assert function.get("/healthz").json()["engines"]["rclone"]["usable"] is True
        assert function.get("/schema/request").json()["title"] == "Transfer request"
        page = requests.get(function.url, headers={"Accept": "text/html"}, timeout=60)
        assert page.text.startswith("<!doctype html>")
        answer = function.copy(webdav.endpoint("wheel"), s3.endpoint("wheel"))
        assert answer.status_code == 200, answer.text
        function.wait_clean()
    assert s3.hashes("bucket/wheel") == hashes


@pytest.mark.slow
def test_it_is_typed_and_has_no_more_than_it_needs(elsewhere: Path) -> None:
    python = elsewhere / "venv" / "bin" / "python"
    listed = subprocess.run(
        [
            python,
            "-c",
            "import importlib.metadata as m\nfor f in m.files('efss-transfer'): print(f)",
        ],
        capture_output=True,
        text=True,
        check=True,
        cwd=elsewhere,
    ).stdout.splitlines()
    assert "efss_transfer/py.typed" in listed
    assert "efss_transfer/layer/rclone.json" in listed
    assert {name for name in listed if name.endswith(".schema.json")} == {
        f"efss_transfer/schema/{name}.schema.json" for name in NAMES
    }
    assert not [name for name in listed if "test" in name]


@pytest.mark.slow
def test_it_has_the_files_that_init_changes(elsewhere: Path, tmp_path: Path) -> None:
    program = elsewhere / "venv" / "bin" / "efss-transfer"
    words = ("init", tmp_path / "site", "--yes", "--address", "https://transfer.example.org")
    subprocess.run([program, *words], check=True, capture_output=True, cwd=elsewhere)
    unit = (tmp_path / "site" / "efss-transfer.service").read_text("utf-8")
    assert f"ExecStart={elsewhere}/venv/bin/functions-framework --source={elsewhere}/venv/" in unit
    assert "server_name transfer.example.org;" in (tmp_path / "site/nginx.conf").read_text("utf-8")


@pytest.mark.slow
def test_the_client_needs_requests_and_no_more(
    elsewhere: Path, tmp_path: Path, function: Function, webdav: Storage, s3: Storage
) -> None:
    hashes = webdav.fill("lean", {"a.txt": b"a", "b/c.bin": bytes(100_000)})
    (wheel,) = elsewhere.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "requests"], check=True, capture_output=True)
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True, capture_output=True)
    request = {"source": webdav.endpoint("lean"), "destination": s3.endpoint("lean")}
    program = (
        "import json, sys\n"
        "from efss_transfer.client import Client\n"
        "with Client(sys.argv[1]) as client:\n"
        "    print(client.complete(json.load(sys.stdin)).totals.transferred)\n"
    )
    told = subprocess.run(
        [python, "-c", program, function.url],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"NO_PROXY": "127.0.0.1"},
    )
    assert (told.returncode, told.stdout) == (0, "2\n"), told.stderr
    assert s3.hashes("bucket/lean") == hashes
