"""Requests that nobody wrote: by the thousand, through the HTTP door.

Nothing may be connected to in these (the site allows no host), so that whatever answer is a
server's error is one of ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from efss_transfer.model.errors import CODES
from support import service_process
from support.contract import EXAMPLES, complaints
from support.service_process import Function

# Types that a request makes dial a host of its own choice: the site refuses each.
CLOSED: Final = {
    "allow": {"hosts": [], "types": ["webdav", "s3", "sftp", "ftp", "swift", "seafile", "smb"]},
}
VALID: Final = [
    json.loads(file.read_text("utf-8")) for file in sorted((EXAMPLES / "valid").glob("*.json"))
]
NASTY: Final = (
    "",
    "\x00",
    "..",
    "../../etc/passwd",
    ":local:/etc",
    "\r\nX: y",
    "{{7*7}}",
    "%s%n",
    "\ud83c\udf89",
    "\u202e",
    "a" * 5000,
    "http://127.0.0.1:1/",
    "http://[::1]/",
    "http://xn--/",
    "http://\u2488/",
    "webdav",
    "rclone",
    "type",
)


# Its own list for a request that does not fit the schema, and 413: some are over the limit.
REFUSALS: Final = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, "5xx"]
"""


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    runtime = tmp_path_factory.mktemp("closed")
    with service_process.function(runtime, site=CLOSED) as running:
        yield running
        log = running.log.read_text()
        assert "Traceback" not in log
        assert "internal error" not in log
        assert '"event": "defect"' not in log


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(NASTY)
    | st.text(st.characters(codec="utf-8"), max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NASTY) | st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value within a document."""
    yield path
    if isinstance(value, dict):
        for name in value:
            yield from places(value[name], (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*path, index))


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """An example that is valid, changed in a few places."""
    document = json.loads(json.dumps(draw(st.sampled_from(VALID))))
    for _ in range(draw(st.integers(0, 3))):
        *way, last = draw(st.sampled_from([place for place in places(document) if place]))
        holder = document
        for step in way:
            holder = holder[step]
        match draw(st.sampled_from(["replace", "remove", "add", "rename"])):
            case "replace":
                holder[last] = draw(anything)
            case "remove":
                del holder[last]
            case "add" if isinstance(holder, dict):
                holder[draw(st.sampled_from(NASTY) | st.text(max_size=10))] = draw(anything)
            case "rename" if isinstance(holder, dict):
                holder[draw(st.sampled_from(NASTY))] = holder.pop(last)
        if not document:
            break
    return document


def judge(session: requests.Session, url: str, body: bytes) -> None:
    """Whatever was sent, the answer is one of the contract's, and no server's error."""
    answer = session.post(url, data=body, headers={"Content-Type": "application/json"}, timeout=60)
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert complaints("problem", problem) == []
    assert CODES[problem["code"]].status == answer.status_code
    assert "Traceback" not in answer.text


def fuzz(closed: Function, count: int) -> int:
    sent = 0
    with requests.Session() as session:
        session.trust_env = False

        @settings(
            max_examples=count,
            derandomize=True,  # a finding must not depend on the day
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(mutated() | anything)
        def each(document: Any) -> None:
            nonlocal sent
            sent += 1
            judge(session, closed.url, json.dumps(document).encode())

        each()
    return sent


def test_hundreds_of_requests_that_nobody_wrote(closed: Function) -> None:
    assert fuzz(closed, 300) >= 300


@pytest.mark.slow
def test_thousands_of_requests_that_nobody_wrote(closed: Function) -> None:
    assert fuzz(closed, 3_000) >= 3_000


@pytest.mark.parametrize(
    ("examples", "phases"),
    [
        pytest.param(30, "examples,fuzzing", id="few"),
        # It has thousands of cases for what a type of storage may be told.
        pytest.param(60, "examples,coverage,fuzzing", id="many", marks=pytest.mark.slow),
    ],
)
def test_schemathesis_finds_no_answer_outside_the_contract(
    closed: Function, tmp_path: Path, examples: int, phases: str
) -> None:
    """By the description that the service gives of itself."""
    (tmp_path / "schemathesis.toml").write_text(REFUSALS)
    run = subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"),
            "run",
            f"{closed.url}/openapi.json",
            "--checks=all",
            # A request that fits the schema is refused by this site's policy; and the token
            # is for sites that want one.
            "--exclude-checks=positive_data_acceptance,ignored_auth",
            f"--max-examples={examples}",
            f"--phases={phases}",
            "--seed=1",
            "--suppress-health-check=all",
            "--request-timeout=30",
            "--continue-on-failure",
        ],
        cwd=tmp_path,
        env={
            **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
            "SCHEMATHESIS_HOOKS": "",
            "NO_COLOR": "1",
        },
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
