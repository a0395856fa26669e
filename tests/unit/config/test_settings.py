"""What an operator sets, and what is said of a setting that cannot be used."""

from __future__ import annotations

import logging
import math
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.config.settings import (
    LONGEST_RUNTIME_DIR,
    SPARE_THREADS,
    Settings,
    behind_platform_proxy,
    platform_timeout,
    server_threads,
    warn_about_server_threads,
)
from efss_transfer.model.errors import ConfigurationError

DEFAULTS = Settings(
    rclone=None,
    rclone_sha256=None,
    site=None,
    user=None,
    memory_bytes=2 << 30,
    concurrent_transfers=8,
    duration_seconds=3600,
    boot_seconds=15,
    stop_seconds=5,
    retry_seconds=4,
    stall_seconds=300,
    body_bytes=1 << 20,
    response_bytes=5 << 20,
    runtime_dir=Path(tempfile.gettempdir()),
    standby=False,
    log_level="INFO",
    log_format="json",
)


def read(**variables: str) -> Settings:
    """The settings, of an environment whose server has threads for all."""
    ours = {f"EFSS_TRANSFER_{name}": value for name, value in variables.items()}
    return Settings.read({"THREADS": "64", "PATH": "/bin", "HOME": "/", **ours})


def test_without_any_variable_there_are_the_defaults() -> None:
    assert read() == DEFAULTS


@pytest.mark.parametrize(
    ("variable", "text", "changed"),
    [
        ("RCLONE", "/opt/rclone", {"rclone": Path("/opt/rclone")}),
        ("RCLONE_SHA256", "A" * 64, {"rclone_sha256": "a" * 64}),
        ("SITE", "/etc/site.json", {"site": Path("/etc/site.json")}),
        ("USER", "nobody", {"user": "nobody"}),
        ("STANDBY", "1", {"standby": True}),
        ("MEMORY_BYTES", "268435456", {"memory_bytes": 256 << 20}),
        ("CONCURRENT_TRANSFERS", "1", {"concurrent_transfers": 1}),
        (
            "CONCURRENT_TRANSFERS",
            "10000",
            # For so many no machine has more than the least for each.
            {"concurrent_transfers": 10_000, "memory_bytes": 256 << 20},
        ),
        ("DURATION_SECONDS", "1", {"duration_seconds": 1}),
        ("DURATION_SECONDS", "90.5", {"duration_seconds": 90.5}),
        ("DURATION_SECONDS", "2592000", {"duration_seconds": 2_592_000}),
        ("BOOT_SECONDS", "0.1", {"boot_seconds": 0.1}),
        ("BOOT_SECONDS", "600", {"boot_seconds": 600}),
        ("STOP_SECONDS", "0.5", {"stop_seconds": 0.5}),
        ("STALL_SECONDS", "2", {"stall_seconds": 2}),
        ("RESPONSE_BYTES", "65536", {"response_bytes": 1 << 16}),
        ("BODY_BYTES", "1", {"body_bytes": 1}),
        ("BODY_BYTES", "1073741824", {"body_bytes": 1 << 30}),
        ("LOG_LEVEL", "DEBUG", {"log_level": "DEBUG"}),
        ("LOG_FORMAT", "Text", {"log_format": "text"}),
        ("LOG_LEVEL", "warning", {"log_level": "WARNING"}),
    ],
)
def test_a_variable_changes_its_setting_and_no_other(
    variable: str, text: str, changed: dict[str, Any]
) -> None:
    assert read(**{variable: text}) == replace(DEFAULTS, **changed)


def test_the_runtime_folder_is_the_one_that_is_named(tmp_path: Path) -> None:
    assert read(RUNTIME_DIR=str(tmp_path)) == replace(DEFAULTS, runtime_dir=tmp_path)


def test_a_runtime_folder_with_too_long_a_path_is_refused(short: Path) -> None:
    """At the start: later, no transfer could begin, and each would be told to try again."""
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
def test_an_empty_variable_is_as_none(variable: str) -> None:
    # A compose file or a template often sets a variable that has no value.
    assert read(**{variable: ""}) == DEFAULTS


NO_NUMBERS = ["many", "nan", "inf", "-inf", "-1", "0", "1e400", "1,5", "0x10", "9" * 5000, "1 2"]


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
            for text in NO_NUMBERS
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
def test_a_wrong_value_ends_the_start_and_names_its_variable(variable: str, text: str) -> None:
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
def test_the_bound_that_is_told_is_the_one_that_is_taken(variable: str, bound: str) -> None:
    read(**{variable: bound})
    with pytest.raises(ConfigurationError) as refused:
        read(**{variable: "-1"})
    assert str(refused.value).endswith(f" to {bound}.")


@pytest.mark.parametrize(
    "name", ["CONCURENT_TRANSFERS", "SPEED", "", "body_bytes", "RCLONE_CONFIG"]
)
def test_a_setting_that_does_not_exist_ends_the_start(name: str) -> None:
    # A misspelt limit that is passed over would be no limit.
    with pytest.raises(ConfigurationError) as refused:
        read(**{name: "1"})
    assert f"EFSS_TRANSFER_{name}" in str(refused.value)
    assert "EFSS_TRANSFER_CONCURRENT_TRANSFERS" in str(refused.value)


def test_variables_of_others_are_none_of_ours() -> None:
    others = {"EFSS_TRANSFERS": "1", "XEFSS_TRANSFER_A": "1", "efss_transfer_a": "1"}
    assert Settings.read({"THREADS": "64", **others}) == DEFAULTS


@pytest.mark.parametrize("threads", ["3", "4", "8", "9", "10", "64", "1000"])
def test_by_default_transfers_leave_threads_to_say_that_all_are_taken(threads: str) -> None:
    chosen = Settings.read({"THREADS": threads})
    assert 1 <= chosen.concurrent_transfers <= int(threads) - SPARE_THREADS
    assert chosen.concurrent_transfers <= 8


@pytest.mark.parametrize("threads", ["0", "1", "2", "-5"])
def test_however_few_threads_there_are_one_transfer_may_run(threads: str) -> None:
    assert Settings.read({"THREADS": threads}).concurrent_transfers == 1


@pytest.mark.parametrize("environment", [{}, {"THREADS": "many"}, {"THREADS": ""}])
def test_a_server_that_is_told_nothing_has_threads_for_the_default(
    environment: dict[str, str],
) -> None:
    threads = server_threads(environment)
    assert threads >= 4
    assert Settings.read(environment).concurrent_transfers < threads


@pytest.mark.parametrize(
    ("variable", "text", "seconds"),
    [
        ("CLOUD_RUN_TIMEOUT_SECONDS", "300", 300),
        ("CLOUD_RUN_TIMEOUT_SECONDS", "0", math.inf),
        ("FUNCTION_TIMEOUT_SEC", "60", 60),
        ("exec_timeout", "5m", 300),
        ("exec_timeout", "1h30m", 5400),
        ("exec_timeout", "90", 90),
        ("exec_timeout", "1.5s", 1.5),
        ("exec_timeout", "1500ms", 1.5),
        ("exec_timeout", "0s", math.inf),
        ("exec_timeout", "", math.inf),
        ("exec_timeout", "soon", math.inf),
        ("exec_timeout", "5m!", math.inf),
        ("AzureFunctionsJobHost__functionTimeout", "00:05:00", 300),
        ("AzureFunctionsJobHost__functionTimeout", "1.00:00:01", 86401),
        ("AzureFunctionsJobHost__functionTimeout", "-1", math.inf),
    ],
)
def test_what_a_platform_tells_of_its_time_is_heeded(
    variable: str, text: str, seconds: float
) -> None:
    assert platform_timeout({variable: text}) == seconds
    assert Settings.read({"THREADS": "64", variable: text}).duration_seconds == min(3600, seconds)


def test_of_several_times_the_shortest_holds() -> None:
    told = {"CLOUD_RUN_TIMEOUT_SECONDS": "300", "exec_timeout": "2m"}
    assert platform_timeout(told) == 120


def test_platforms_with_a_proxy_in_the_sandbox_are_known() -> None:
    assert behind_platform_proxy({"K_SERVICE": "efss-transfer"})
    assert behind_platform_proxy({"fprocess": "functions-framework"})
    assert not behind_platform_proxy({"PATH": "/bin", "fprocess": ""})


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
def test_an_operator_is_warned_of_transfers_that_take_every_thread(
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    transfers: str,
    threads: str,
    warned: bool,
) -> None:
    # A service that was made in this process keeps its log to itself.
    monkeypatch.setattr(logging.getLogger("efss_transfer"), "propagate", True)
    environment = {"THREADS": threads, "EFSS_TRANSFER_CONCURRENT_TRANSFERS": transfers}

    warn_about_server_threads(Settings.read(environment), environment)

    told = [record.getMessage() for record in caplog.records]
    assert bool(told) is warned
    for text in told:
        assert "EFSS_TRANSFER_CONCURRENT_TRANSFERS" in text
        assert f"THREADS to {int(transfers) + SPARE_THREADS}" in text


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, 3600),
        ({"CLOUD_RUN_TIMEOUT_SECONDS": "300"}, 300),
        ({"FUNCTION_TIMEOUT_SEC": "60"}, 60),
        ({"FUNCTION_TIMEOUT_SEC": "60", "EFSS_TRANSFER_DURATION_SECONDS": "30"}, 30),
        ({"CLOUD_RUN_TIMEOUT_SECONDS": "7200"}, 3600),
        ({"CLOUD_RUN_TIMEOUT_SECONDS": "0"}, 3600),
        ({"CLOUD_RUN_TIMEOUT_SECONDS": "never"}, 3600),
    ],
)
def test_the_platform_s_own_limit_counts_if_it_is_less(
    variables: dict[str, str], seconds: float
) -> None:
    assert Settings.read({"THREADS": "64", **variables}).duration_seconds == seconds


@pytest.mark.parametrize(
    ("told", "bytes_"),
    [
        ("512", 352 << 20),
        ("1769", 1609 << 20),
        ("128", 256 << 20),
        ("10240", 2 << 30),
        ("x", 2 << 30),
    ],
)
def test_of_lambda_s_memory_rclone_gets_what_python_leaves(told: str, bytes_: int) -> None:
    there = {"AWS_LAMBDA_FUNCTION_NAME": "copy", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": told}
    read = Settings.read(there)
    assert read.memory_bytes == bytes_
