"""Whatever servers do wrong: `succeeded` means that every file arrived, byte for byte."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings

from support.misbehaving import ftp, s3, sftp, webdav
from support.misbehaving.scenarios import Scenario, scenarios
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage


class Servers(dict[tuple[str, str], Any]):
    """A misbehaving server of each kind for each side."""

    def __repr__(self) -> str:
        return "the servers"  # their content is too long for a report


@pytest.fixture(scope="module")
def servers(
    storages: dict[str, Storage], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    with ExitStack() as running:
        found = Servers()
        for side in ("source", "destination"):
            found[side, "webdav"] = running.enter_context(webdav.serving())
            found[side, "s3"] = running.enter_context(s3.before(storages["s3"]))
            for kind, module in (("sftp", sftp), ("ftp", ftp)):
                folder = tmp_path_factory.mktemp(f"{kind}-{side}")
                found[side, kind] = running.enter_context(module.serving(folder))
        yield found


def check(function: Function, servers: Servers, scenario: Scenario) -> None:
    """Copy while the servers misbehave, and again when they do not."""
    note(repr(scenario))
    folder = uuid.uuid4().hex
    source = servers["source", scenario.source]
    destination = servers["destination", scenario.destination]
    at = "/".join(filter(None, (source.storage.base, folder)))
    whole = source.storage.fill(at, scenario.contents())
    to = "/".join(filter(None, (destination.storage.base, f"to-{folder}")))
    request = {
        "source": source.storage.endpoint(folder),
        "destination": destination.storage.endpoint(f"to-{folder}"),
        "options": scenario.options,
    }
    source.troubles.plan(one.below(folder) for one in scenario.reading)
    destination.troubles.plan(one.below(f"to-{folder}") for one in scenario.writing)
    judge(function.post(request), destination.storage.hashes(to), whole, scenario.options["verify"])

    source.troubles.plan(())
    destination.troubles.plan(())
    answer = function.post(request)
    judge(answer, destination.storage.hashes(to), whole, scenario.options["verify"])
    function.wait_clean()


def is_compared(result: dict[str, Any], verify: str) -> bool:
    """Whether each file that arrived was compared as the request asks. A source that ends in
    mid-copy cannot be; then the result does not succeed, and its verification says how many were.
    """
    files = result["totals"]["files"]
    compared = result.get("verification", {"checked": 0, "missing": 0})
    found = compared["checked"] + compared["missing"]
    return verify == "none" or bool(found >= files["transferred"] + files["skipped"])


def judge(answer: Any, arrived: dict[str, str], whole: dict[str, str], verify: str) -> None:
    """An answer is true: of the whole transfer, and of each file that it names."""
    note(answer.text)  # hypothesis shows it with the scenario that fails
    assert answer.status_code != 500, answer.text
    if answer.status_code == 200:
        assert answer.json()["state"] == "succeeded"
        assert {path: arrived.get(path) for path in whole} == whole
    elif "result" in answer.json() and is_compared(result := checked_result(answer), verify):
        for file in result.get("files", []):
            if file["state"] == "transferred":
                path = file["path"]
                assert arrived.get(path) == whole[path], f"{path} is called transferred"


GENERATED = int(os.environ.get("GENERATED_COPIES", "100"))
"""`scripts/faults` asks for more, and for others each time."""


@pytest.mark.slow
@settings(
    max_examples=GENERATED,
    derandomize="GENERATED_COPIES" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(scenario=scenarios())
def test_success_is_never_wrong(scenario: Scenario, function: Function, servers: Servers) -> None:
    check(function, servers, scenario)
    if path := os.environ.get("GENERATED_COPIES_MADE"):
        with Path(path).open("ab", buffering=0) as made:
            made.write(b".")  # one byte for each, which processes may write at once
