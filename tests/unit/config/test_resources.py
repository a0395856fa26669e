"""Memory and CPU limits, from every place that can hold one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from efss_transfer.config import resources
from efss_transfer.config.settings import Settings

MIB = 1 << 20
MACHINE_MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return tmp_path / "own"


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_max", ".max")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def test_machine_without_limits_has_its_own_memory(tmp_path: Path, own: Path) -> None:
    assert resources.memory_limit({}, tmp_path, own) == MACHINE_MEMORY
    own.write_text("0::/a\n")
    write(tmp_path, a__memory_max="max", a__cpu_max="max 100000")
    assert resources.memory_limit({}, tmp_path, own) == MACHINE_MEMORY
    assert resources.cpu_limit(tmp_path, own) is None


def test_limits_of_cgroups_v2_include_the_groups_above(tmp_path: Path, own: Path) -> None:
    own.write_text("0::/site/function\n")
    write(tmp_path, site__function__memory_max="max", site__memory_max=str(512 * MIB))
    write(tmp_path, site__function__cpu_max="150000 100000", site__cpu_max="400000 100000")
    assert resources.memory_limit({}, tmp_path, own) == 512 * MIB
    assert resources.cpu_limit(tmp_path, own) == 1.5


def test_limits_of_cgroups_v1(tmp_path: Path, own: Path) -> None:
    own.write_text("3:cpu,cpuacct:/x\n5:memory:/x\n1:name=systemd:/\n")
    write(tmp_path, memory__x__dummy="", **{"cpu,cpuacct__x__dummy": ""})
    (tmp_path / "memory/x/memory.limit_in_bytes").write_text(f"{300 * MIB}\n")
    (tmp_path / "memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    (tmp_path / "cpu,cpuacct/x/cpu.cfs_quota_us").write_text("50000\n")
    (tmp_path / "cpu,cpuacct/x/cpu.cfs_period_us").write_text("100000\n")
    assert resources.memory_limit({}, tmp_path, own) == 300 * MIB
    assert resources.cpu_limit(tmp_path, own) == 0.5


def test_memory_limit_of_lambda_is_in_a_variable(tmp_path: Path, own: Path) -> None:
    environment = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512"}
    assert resources.memory_limit(environment, tmp_path, own) == 512 * MIB


@pytest.mark.parametrize(
    ("memory", "transfers", "each"),
    [(512, 1, 352), (1024, 3, 288), (3008, 8, 356), (20000, 8, 2048)],
    ids=["512", "1024", "3008", "20000"],
)
def test_default_transfers_and_memory_fit_into_the_sandbox(
    tmp_path: Path, memory: int, transfers: int, each: int
) -> None:
    environment = {
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory),
        "THREADS": "24",
        "EFSS_TRANSFER_RUNTIME_DIR": str(tmp_path),
    }
    settings = Settings.read(environment)
    assert settings.concurrent_transfers == transfers
    assert settings.memory_bytes // MIB == each


def test_one_transfer_gets_all_memory_of_lambda(tmp_path: Path) -> None:
    environment = {
        "AWS_LAMBDA_FUNCTION_NAME": "copy",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
        "EFSS_TRANSFER_RUNTIME_DIR": str(tmp_path),
    }
    settings = Settings.read(environment)
    assert (settings.concurrent_transfers, settings.memory_bytes) == (1, 864 * MIB)


def test_memory_of_a_process_is_known_while_it_runs() -> None:
    assert MIB < resources.resident_bytes(os.getpid()) < MACHINE_MEMORY
    assert resources.resident_bytes(1 << 30) > MACHINE_MEMORY
