"""Time limits, threads and proxies that platforms announce in the environment."""

from __future__ import annotations

import math

import pytest

from efss_transfer.config.platforms import (
    behind_platform_proxy,
    platform_timeout,
    server_threads,
)
from efss_transfer.config.settings import Settings


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
def test_announced_timeout_limits_the_duration(variable: str, text: str, seconds: float) -> None:
    assert platform_timeout({variable: text}) == seconds
    assert Settings.read({"THREADS": "64", variable: text}).duration_seconds == min(3600, seconds)


def test_shortest_announced_timeout_wins() -> None:
    announced = {"CLOUD_RUN_TIMEOUT_SECONDS": "300", "exec_timeout": "2m"}
    assert platform_timeout(announced) == 120


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
def test_duration_is_the_lower_of_the_setting_and_the_announced_timeout(
    variables: dict[str, str], seconds: float
) -> None:
    assert Settings.read({"THREADS": "64", **variables}).duration_seconds == seconds


def test_platforms_with_a_proxy_in_the_sandbox_are_recognised() -> None:
    assert behind_platform_proxy({"K_SERVICE": "efss-transfer"})
    assert behind_platform_proxy({"fprocess": "functions-framework"})
    assert not behind_platform_proxy({"PATH": "/bin", "fprocess": ""})


@pytest.mark.parametrize("environment", [{}, {"THREADS": "many"}, {"THREADS": ""}])
def test_server_without_threads_setting_has_threads_for_default_transfers(
    environment: dict[str, str],
) -> None:
    threads = server_threads(environment)
    assert threads >= 4
    assert Settings.read(environment).concurrent_transfers < threads
