"""The operator's settings, and the errors for those that cannot be used."""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.config.rclone import RcloneSettings
from efss_transfer.config.settings import (
    LONGEST_RUNTIME_DIR,
    SPARE_THREADS,
    Settings,
    warn_about_server_threads,
)
from efss_transfer.model.errors import ConfigurationError

RCLONE_DEFAULTS = RcloneSettings(
    binary=None,
    sha256=None,
    user=None,
    standby=False,
    webdav_gateway=True,
    webdav_bulk=True,
    webdav_archives=True,
    webdav_chunks_mb=100,
    boot_seconds=15,
    stop_seconds=5,
    stall_seconds=300,
)
DEFAULTS = Settings(
    site=None,
    memory_bytes=2 << 30,
    concurrent_transfers=8,
    duration_seconds=3600,
    retry_seconds=4,
    body_bytes=1 << 20,
    response_bytes=5 << 20,
    runtime_dir=Path(tempfile.gettempdir()),
    log_level="INFO",
    log_format="json",
    rclone=RCLONE_DEFAULTS,
)


def read(**variables: str) -> Settings:
    """The settings of an environment whose server has threads for all transfers."""
    ours = {f"EFSS_TRANSFER_{name}": value for name, value in variables.items()}
    return Settings.read({"THREADS": "64", "PATH": "/bin", "HOME": "/", **ours})


def test_unset_variables_have_defaults() -> None:
    assert read() == DEFAULTS


@pytest.mark.parametrize(
    ("variable", "text", "changed"),
    [
        ("SITE", "/etc/site.json", {"site": Path("/etc/site.json")}),
        ("MEMORY_BYTES", "268435456", {"memory_bytes": 256 << 20}),
        ("CONCURRENT_TRANSFERS", "1", {"concurrent_transfers": 1}),
        (
            "CONCURRENT_TRANSFERS",
            "10000",
            # No machine has more than the least memory for each of so many.
            {"concurrent_transfers": 10_000, "memory_bytes": 256 << 20},
        ),
        ("DURATION_SECONDS", "1", {"duration_seconds": 1}),
        ("DURATION_SECONDS", "90.5", {"duration_seconds": 90.5}),
        ("DURATION_SECONDS", "2592000", {"duration_seconds": 2_592_000}),
        ("RESPONSE_BYTES", "65536", {"response_bytes": 1 << 16}),
        ("BODY_BYTES", "1", {"body_bytes": 1}),
        ("BODY_BYTES", "1073741824", {"body_bytes": 1 << 30}),
        ("LOG_LEVEL", "DEBUG", {"log_level": "DEBUG"}),
        ("LOG_FORMAT", "Text", {"log_format": "text"}),
        ("LOG_LEVEL", "warning", {"log_level": "WARNING"}),
    ],
)
def test_variable_changes_only_its_own_setting(
    variable: str, text: str, changed: dict[str, Any]
) -> None:
    assert read(**{variable: text}) == replace(DEFAULTS, **changed)


@pytest.mark.parametrize(
    ("variable", "text", "changed"),
    [
        ("RCLONE", "/opt/rclone", {"binary": Path("/opt/rclone")}),
        ("RCLONE_SHA256", "A" * 64, {"sha256": "a" * 64}),
        ("USER", "nobody", {"user": "nobody"}),
        ("STANDBY", "1", {"standby": True}),
        ("WEBDAV_GATEWAY", "0", {"webdav_gateway": False}),
        ("WEBDAV_BULK", "0", {"webdav_bulk": False}),
        ("WEBDAV_ARCHIVES", "0", {"webdav_archives": False}),
        ("WEBDAV_CHUNKS_MB", "0", {"webdav_chunks_mb": 0}),
        ("BOOT_SECONDS", "0.1", {"boot_seconds": 0.1}),
        ("BOOT_SECONDS", "600", {"boot_seconds": 600}),
        ("STOP_SECONDS", "0.5", {"stop_seconds": 0.5}),
        ("STALL_SECONDS", "2", {"stall_seconds": 2}),
    ],
)
def test_variable_of_rclone_changes_only_its_own_setting(
    variable: str, text: str, changed: dict[str, Any]
) -> None:
    expected = replace(DEFAULTS, rclone=replace(RCLONE_DEFAULTS, **changed))
    assert read(**{variable: text}) == expected


def test_runtime_dir_is_the_folder_that_is_set(tmp_path: Path) -> None:
    assert read(RUNTIME_DIR=str(tmp_path)) == replace(DEFAULTS, runtime_dir=tmp_path)


def test_runtime_dir_with_too_long_a_path_is_refused(short: Path) -> None:
    """At start: later, every transfer would fail, with an error that says to try again."""
    longest = short / ("x" * (LONGEST_RUNTIME_DIR - len(os.fsencode(short)) - 1))
    longer = longest.with_name(longest.name + "x")
    for folder in (longest, longer):
        folder.mkdir()
    assert read(RUNTIME_DIR=str(longest)).runtime_dir == longest
    with pytest.raises(ConfigurationError, match=r"RUNTIME_DIR must be a path of at most 73 bytes"):
        read(RUNTIME_DIR=str(longer))


@pytest.mark.parametrize(
    "variable",
    [
        "RCLONE",
        "CONCURRENT_TRANSFERS",
        "DURATION_SECONDS",
        "BOOT_SECONDS",
        "STOP_SECONDS",
        "BODY_BYTES",
        "RUNTIME_DIR",
        "LOG_LEVEL",
    ],
)
def test_empty_variable_counts_as_unset(variable: str) -> None:
    # A compose file or a template often sets a variable that has no value.
    assert read(**{variable: ""}) == DEFAULTS


INVALID_NUMBERS = [
    "many",
    "nan",
    "inf",
    "-inf",
    "-1",
    "0",
    "1e400",
    "1,5",
    "0x10",
    "9" * 5000,
    "1 2",
]


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        *[
            (variable, text)
            for variable in (
                "CONCURRENT_TRANSFERS",
                "DURATION_SECONDS",
                "BOOT_SECONDS",
                "STOP_SECONDS",
                "STALL_SECONDS",
                "BODY_BYTES",
                "RESPONSE_BYTES",
            )
            for text in INVALID_NUMBERS
        ],
        ("CONCURRENT_TRANSFERS", "10001"),
        ("CONCURRENT_TRANSFERS", "2.5"),
        ("DURATION_SECONDS", "0.9"),
        ("DURATION_SECONDS", "2592001"),
        ("BOOT_SECONDS", "601"),
        ("STOP_SECONDS", "0.05"),
        ("STALL_SECONDS", "0.9"),
        ("STALL_SECONDS", "86401"),
        ("RESPONSE_BYTES", "65535"),
        ("RESPONSE_BYTES", "1073741825"),
        ("BODY_BYTES", "1073741825"),
        ("BODY_BYTES", "1000.5"),
        ("LOG_LEVEL", "loud"),
        ("LOG_LEVEL", "10"),
        ("RUNTIME_DIR", "/nowhere/at/all"),
        ("RUNTIME_DIR", __file__),
    ],
    ids=lambda text: text[:30],
)
def test_invalid_value_raises_an_error_that_names_the_variable(variable: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^EFSS_TRANSFER_{variable} must be "):
        read(**{variable: text})


@pytest.mark.parametrize(
    ("variable", "bound"),
    [
        ("CONCURRENT_TRANSFERS", "10000"),
        ("DURATION_SECONDS", "2592000"),
        ("BOOT_SECONDS", "600"),
        ("STALL_SECONDS", "86400"),
        ("BODY_BYTES", "1073741824"),
        ("RESPONSE_BYTES", "1073741824"),
    ],
)
def test_bound_named_in_the_error_is_accepted(variable: str, bound: str) -> None:
    read(**{variable: bound})
    with pytest.raises(ConfigurationError) as refused:
        read(**{variable: "-1"})
    assert str(refused.value).endswith(f" to {bound}.")


@pytest.mark.parametrize(
    "name", ["CONCURENT_TRANSFERS", "SPEED", "", "body_bytes", "RCLONE_CONFIG"]
)
def test_unknown_setting_raises_an_error_that_lists_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(**{name: "1"})
    assert str(refused.value).startswith(f"Unknown setting: EFSS_TRANSFER_{name}. Known settings: ")
    assert "EFSS_TRANSFER_CONCURRENT_TRANSFERS" in str(refused.value)


def test_variables_without_the_prefix_are_ignored() -> None:
    others = {"EFSS_TRANSFERS": "1", "XEFSS_TRANSFER_A": "1", "efss_transfer_a": "1"}
    assert Settings.read({"THREADS": "64", **others}) == DEFAULTS


@pytest.mark.parametrize("threads", ["3", "4", "8", "9", "10", "64", "1000"])
def test_default_transfers_leave_spare_threads(threads: str) -> None:
    chosen = Settings.read({"THREADS": threads})
    assert 1 <= chosen.concurrent_transfers <= int(threads) - SPARE_THREADS
    assert chosen.concurrent_transfers <= 8


@pytest.mark.parametrize("threads", ["0", "1", "2", "-5"])
def test_one_transfer_may_run_with_any_number_of_threads(threads: str) -> None:
    assert Settings.read({"THREADS": threads}).concurrent_transfers == 1


@pytest.mark.parametrize(
    ("transfers", "threads", "warned"),
    [
        ("8", "10", False),
        ("8", "9", True),
        ("8", "8", True),
        ("100", "64", True),
        ("1", "3", False),
    ],
)
def test_transfers_that_can_occupy_every_thread_are_warned_about(
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    transfers: str,
    threads: str,
    warned: bool,
) -> None:
    # A service created in this process has turned propagation off.
    monkeypatch.setattr(logging.getLogger("efss_transfer"), "propagate", True)
    environment = {"THREADS": threads, "EFSS_TRANSFER_CONCURRENT_TRANSFERS": transfers}

    warn_about_server_threads(Settings.read(environment), environment)

    warnings = [record.getMessage() for record in caplog.records]
    assert bool(warnings) is warned
    for text in warnings:
        assert "EFSS_TRANSFER_CONCURRENT_TRANSFERS" in text
        assert f"THREADS to {int(transfers) + SPARE_THREADS}" in text


@pytest.mark.parametrize(
    ("mebibytes", "expected"),
    [
        ("512", 352 << 20),
        ("1769", 1609 << 20),
        ("128", 256 << 20),
        ("10240", 2 << 30),
        ("x", 2 << 30),
    ],
)
def test_rclone_gets_the_memory_of_lambda_that_python_leaves(mebibytes: str, expected: int) -> None:
    environment = {
        "AWS_LAMBDA_FUNCTION_NAME": "copy",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": mebibytes,
    }
    assert Settings.read(environment).memory_bytes == expected
