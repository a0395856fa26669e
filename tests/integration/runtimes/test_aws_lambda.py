"""The handler as AWS runs it: by its own runtime client, without a HOME, in a folder of others."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from support import http_servers, service_process
from support.contract import complaints
from support.lambda_runtime import READ_ONLY, Lambda, deployed
from support.service_process import LOOPBACK
from support.storages import ROOT, Storage

MIB = 1 << 20
TOKEN = "canary-token-of-alice"
ASKING = {
    **LOOPBACK,
    "authentication": {
        "mode": "tokens",
        "tokens": [{"caller": "alice", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}],
    },
}


@pytest.fixture(scope="module")
def asking() -> Iterator[Lambda]:
    """A function whose site asks for a token."""
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as folder,
        deployed(_made(Path(folder) / "run"), ASKING) as it,
    ):
        yield it


@pytest.fixture(scope="module")
def open_one() -> Iterator[Lambda]:
    """A function whose site asks nobody."""
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as folder,
        deployed(_made(Path(folder) / "run")) as it,
    ):
        yield it


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def headers(**more: str) -> dict[str, str]:
    return {"content-type": "application/json", "authorization": f"Bearer {TOKEN}", **more}


def url_event(body: Any) -> dict[str, Any]:
    return {
        "version": "2.0",
        "rawPath": "/",
        "headers": headers(),
        "requestContext": {"http": {"method": "POST", "sourceIp": "203.0.113.1"}},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


def http_api_event(body: Any) -> dict[str, Any]:
    event = url_event(body)
    event["requestContext"]["stage"] = "dev"
    return {**event, "rawPath": "/dev"}


def rest_event(body: Any) -> dict[str, Any]:
    return {
        "httpMethod": "POST",
        "path": "/",
        "headers": headers(),
        "multiValueHeaders": {name: [value] for name, value in headers().items()},
        "requestContext": {"resourcePath": "/", "identity": {"sourceIp": "203.0.113.1"}},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


def alb_event(body: Any) -> dict[str, Any]:
    return {
        "httpMethod": "POST",
        "path": "/",
        "multiValueHeaders": {name: [value] for name, value in headers().items()},
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:x"}},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


@pytest.mark.parametrize("event", [url_event, http_api_event, rest_event, alb_event])
def test_a_copy_by_each_way_of_http(
    asking: Lambda, webdav: Storage, s3: Storage, event: Any
) -> None:
    folder = f"lambda-{event.__name__}".replace("_", "-")
    files = webdav.fill(folder, {"a.txt": b"a", 'deep/ü "b".bin': bytes(3 * MIB)})
    body = {
        "source": webdav.endpoint(folder),
        "destination": s3.endpoint(folder),
        "options": {"report": "all"},
    }
    answer = asking.invoke(event(body))
    assert answer["statusCode"] == 200, answer
    assert answer["isBase64Encoded"] is False
    result = json.loads(answer["body"])
    assert complaints("result", result) == []
    assert result["state"] == "succeeded"
    assert s3.hashes(f"{s3.base}/{folder}") == files
    service_process.wait_clean(asking.runtime_dir, 15)
    log = asking.log.read_text()
    assert TOKEN not in log
    assert webdav.parameters["pass"] not in log
    assert '"caller": "alice"' in log


def test_who_has_no_token_is_refused_also_with_a_bare_request(
    asking: Lambda, webdav: Storage, s3: Storage
) -> None:
    body = {"source": webdav.endpoint("x"), "destination": s3.endpoint("x")}
    event = url_event(body)
    del event["headers"]["authorization"]
    answer = asking.invoke(event)
    assert answer["statusCode"] == 401
    assert "WWW-Authenticate" in answer["headers"]
    assert asking.invoke(body)["code"] == "unauthenticated"


def test_a_bare_request_is_copied_and_its_result_is_the_answer(
    open_one: Lambda, webdav: Storage, s3: Storage
) -> None:
    files = webdav.fill("lambda-bare", {"a.txt": b"a"})
    body = {"source": webdav.endpoint("lambda-bare"), "destination": s3.endpoint("lambda-bare")}
    result = open_one.invoke(body)
    assert complaints("result", result) == []
    assert result["state"] == "succeeded"
    assert s3.hashes(f"{s3.base}/lambda-bare") == files
    service_process.wait_clean(open_one.runtime_dir, 15)


def test_a_bare_request_for_a_plan_is_answered_with_it(
    open_one: Lambda, webdav: Storage, s3: Storage
) -> None:
    webdav.fill("lambda-plan", {"a.txt": b"a"})
    body = {"source": webdav.endpoint("lambda-plan"), "destination": s3.endpoint("lambda-plan")}
    plan = open_one.invoke({**body, "plan": {}})
    assert complaints("plan", plan) == []
    # As long as an invocation has, where nobody says how long.
    assert (plan["files"], 50 < plan["seconds"]["limit"] < 60) == (1, True)
    assert s3.hashes(f"{s3.base}/lambda-plan") == {}
    service_process.wait_clean(open_one.runtime_dir, 15)


def test_without_authentication_http_is_refused(
    open_one: Lambda, webdav: Storage, s3: Storage
) -> None:
    body = {"source": webdav.endpoint("x"), "destination": s3.endpoint("x")}
    answer = open_one.invoke(url_event(body))
    assert answer["statusCode"] == 403
    assert json.loads(answer["body"])["code"] == "forbidden"


def test_a_problem_is_the_answer(open_one: Lambda, webdav: Storage, s3: Storage) -> None:
    body = {"source": webdav.endpoint("not-there"), "destination": s3.endpoint("x")}
    told = open_one.invoke(body)
    assert complaints("problem", told) == []
    assert (told["status"], told["code"]) == (422, "source_not_found")
    assert told["result"]["state"] == "failed"


def test_what_the_invocation_has_left_is_the_deadline(open_one: Lambda, s3: Storage) -> None:
    """The answer is there before Lambda would end the function, and nothing is left."""
    with http_servers.slow_source(100 * MIB, MIB) as slow:
        body = {"source": slow.endpoint("data"), "destination": s3.endpoint("lambda-slow")}
        open_one.events.put((json.dumps(body).encode(), time.time() + 8))
        path, answer = open_one.answers.get(timeout=8)
    assert path.endswith("/response")
    told = json.loads(answer)
    assert complaints("problem", told) == []
    assert (told["status"], told["code"], told["retryable"]) == (504, "incomplete", True)
    service_process.wait_clean(open_one.runtime_dir, 15)


def test_a_read_only_file_system_but_for_one_folder_is_enough(
    webdav: Storage, s3: Storage, short: Path
) -> None:
    runtime = _made(short / "run")
    elsewhere = _made(short / "elsewhere")
    try_it = [*READ_ONLY, str(runtime), "touch", str(elsewhere / "x")]
    tried = subprocess.run(try_it, capture_output=True, check=False, text=True)
    if "Read-only file system" not in tried.stderr:
        pytest.skip(f"this machine allows no mounts of one's own: {tried.stderr}")
    files = webdav.fill("lambda-read-only", {"a.txt": b"a"})
    body = {
        "source": webdav.endpoint("lambda-read-only"),
        "destination": s3.endpoint("lambda-read-only"),
    }
    with deployed(runtime, read_only=True) as it:
        assert it.invoke(body)["state"] == "succeeded"
        service_process.wait_clean(runtime, 15)
    assert s3.hashes(f"{s3.base}/lambda-read-only") == files


def test_nothing_is_there_before_the_first_request(tmp_path: Path) -> None:
    """What a snapshot would hold: a process alone, and no secret that a site refers to, which
    is only written when the function already waits.
    """
    runtime = _made(tmp_path / "run")
    storage = {
        "type": "s3",
        "parameters": {
            "endpoint": "http://127.0.0.1:1",
            "access_key_id": {"file": str(tmp_path / "id")},
            "secret_access_key": {"file": str(tmp_path / "secret")},
        },
    }
    site = {**LOOPBACK, "storages": {"archive": storage}}
    with deployed(runtime, site) as it:
        assert it.waiting.wait(60)
        assert psutil.Process(it.pid).children(recursive=True) == []
        assert list(runtime.iterdir()) == []
        assert it.log.read_text() == ""
        for name in ("id", "secret"):
            (tmp_path / name).write_text("canary")
        assert it.invoke({})["code"] == "invalid_request"
        assert list(runtime.iterdir()) == []


# --- What the start costs: how long it takes is measured by scripts/bench --rows cold -------

START = """
import json, sys, threading
import lambda_handler
imported = sorted(name for name in sys.modules if "." not in name)
class Context:
    def get_remaining_time_in_millis(self): return 60000
told = lambda_handler.handler({}, Context())
assert told["code"] == "invalid_request", told
print(json.dumps([imported, sorted(name for name in sys.modules if "." not in name)]))
"""


def test_the_start_brings_nothing_that_a_first_request_can_do_without() -> None:
    """The import has all that is needed until rclone boots; requests comes while it does."""
    done = subprocess.run(
        [sys.executable, "-c", START],
        capture_output=True,
        check=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "functions"), "PATH": ""},
        cwd="/",
    )
    imported, asked = (set(names) for names in json.loads(done.stdout))
    assert {"efss_transfer", "jsonschema", "asyncio"} <= imported
    never = {"flask", "werkzeug", "functions_framework", "boto3", "botocore", "click"}
    assert not (never | {"jwt", "cryptography", "requests"}) & asked
    # httptools is of the WebDAV gateway, which is off here.
    assert not {"prometheus_client", "tenacity", "httptools"} & imported
