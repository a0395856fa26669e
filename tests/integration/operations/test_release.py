"""scripts/release: what it builds installs, is complete, and is the same when it is built again."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from efss_transfer import __version__
from support import checkout, dockerfile
from support.storages import ROOT

pytestmark = pytest.mark.slow

CONTEXT = f"efss-transfer-{__version__}-image.tar"
WHEEL = f"efss_transfer-{__version__}-py3-none-any.whl"
SDIST = f"efss_transfer-{__version__}.tar.gz"


def build(root: Path, folder: Path, umask: int = -1) -> dict[str, bytes]:
    """Build by the script of that tree; the files by their names."""
    done = subprocess.run(
        [sys.executable, root / "scripts" / "release.py", "-o", folder],
        capture_output=True,
        text=True,
        check=False,
        umask=umask,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (folder / "SHA256SUMS").read_text("utf-8")
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("release")
    build(ROOT, made)
    return made


def test_its_sums_are_right(folder: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    named = {line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    assert named == {WHEEL, SDIST, CONTEXT, "layer.zip", "function.zip"}
    assert {file.name for file in folder.iterdir()} == named | {"SHA256SUMS"}


def test_the_same_source_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    """Built at another path, with other times and modes of the files."""
    tree = checkout.copied(tmp_path / "another")
    for file in tree.rglob("*"):
        os.utime(file, (1_000_000_000, 1_000_000_000))
        if file.is_file():
            file.chmod(file.stat().st_mode & 0o700)
    made = build(tree, tmp_path / "again", umask=0o077)
    first = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert made.keys() == first.keys()
    assert [name for name in first if made[name] != first[name]] == []


def test_the_wheel_installs_and_the_command_runs(folder: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", folder / WHEEL],
        check=True,
        capture_output=True,
    )
    told = subprocess.run(
        [tmp_path / "venv" / "bin" / "efss-transfer", "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert told.stdout == f"efss-transfer, version {__version__}\n"


def test_the_sdist_builds_the_same_wheel(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(folder / SDIST) as archive:
        # Python 3.11.2, which Debian 12 has, knows no filter.
        safe: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(tmp_path, **safe)  # noqa: S202 - this project has built it
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=tmp_path / SDIST.removesuffix(".tar.gz"),
        check=True,
        capture_output=True,
    )
    assert (tmp_path / WHEEL).read_bytes() == (folder / WHEEL).read_bytes()


def test_the_context_has_all_that_the_image_copies_and_no_more(folder: Path) -> None:
    with tarfile.open(folder / CONTEXT) as archive:
        names = archive.getnames()
    copied = {
        source.rstrip("/")
        for stage in dockerfile.stages(ROOT / "deploy" / "Dockerfile")
        for name, argument in stage
        if name == "COPY" and not argument.startswith("--from=")
        for source in argument.split()[:-1]
    }
    for source in copied:
        assert any(name == source or name.startswith(f"{source}/") for name in names), source
    aside = {".dockerignore", "deploy/Dockerfile"}
    for name in set(names) - aside:
        assert any(name == source or name.startswith(f"{source}/") for source in copied), name
        assert "__pycache__" not in name
    assert aside <= set(names)
