"""What a FaaS platform announces in the environment: its time limit, its threads, its proxy."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import Final

_TIMEOUTS_IN_SECONDS: Final = ("CLOUD_RUN_TIMEOUT_SECONDS", "FUNCTION_TIMEOUT_SEC")
_WATCHDOG_TIMEOUT: Final = "exec_timeout"
_AZURE_TIMEOUT: Final = "AzureFunctionsJobHost__functionTimeout"
# Set by Knative and Cloud Run, and in images that put OpenFaaS's watchdog before the function.
_PLATFORM_PROXIES: Final = ("K_SERVICE", "fprocess", "function_process")
_GO_UNITS: Final = {
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
}


def is_aws_lambda(environment: Mapping[str, str]) -> bool:
    """Whether this is AWS Lambda, which gives an instance one request at a time."""
    return "AWS_LAMBDA_FUNCTION_NAME" in environment


def platform_timeout(environment: Mapping[str, str]) -> float:
    """The shortest time limit, in seconds, that the platform announces; infinity without one.

    Google's Cloud Run and Cloud Functions announce whole seconds; OpenFaaS's of-watchdog a Go
    duration (`5m`, `1h30m`) or whole seconds in `exec_timeout`, where 0 means no limit; Azure
    the app setting that overrides `functionTimeout` of host.json ([days.]hours:minutes:seconds,
    where -1 means no limit). Any other text is ignored.
    """
    texts = [environment.get(name, "") for name in _TIMEOUTS_IN_SECONDS]
    timeouts = [float(text) for text in texts if text.isdecimal()]
    timeouts.append(_go_seconds(environment.get(_WATCHDOG_TIMEOUT, "")))
    timeouts.append(_timespan_seconds(environment.get(_AZURE_TIMEOUT, "")))
    return min(filter(None, timeouts), default=math.inf)


def behind_platform_proxy(environment: Mapping[str, str]) -> bool:
    """Whether the platform runs a proxy in this sandbox: every request then comes from this
    machine, whoever sent it.
    """
    return any(environment.get(name) for name in _PLATFORM_PROXIES)


def server_threads(environment: Mapping[str, str]) -> int:
    """The number of requests that functions-framework's server handles at a time.

    It reads THREADS; its default is four for each core (functions-framework 3.10,
    `_http/gunicorn.py`).
    """
    try:
        return int(environment["THREADS"])
    except (KeyError, ValueError):
        return (os.cpu_count() or 1) * 4


def _go_seconds(text: str) -> float:
    """A Go duration in seconds; 0 for any other text."""
    if text.isdecimal():
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)", text, re.ASCII)
    if "".join(number + unit for number, unit in parts) != text:
        return 0.0
    return sum(float(number) * _GO_UNITS[unit] for number, unit in parts)


def _timespan_seconds(text: str) -> float:
    """A .NET TimeSpan in seconds; 0 for any other text."""
    match = re.fullmatch(r"(?:(\d+)\.)?(\d+):(\d+):(\d+(?:\.\d+)?)", text, re.ASCII)
    if match is None:
        return 0.0
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
