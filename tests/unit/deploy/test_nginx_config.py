"""`deploy/nginx.conf` is consistent with the function and its settings."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from efss_transfer.config.settings import Settings
from efss_transfer.contract import schemas
from efss_transfer.model.errors import CODES
from support.contract import complaints
from support.storages import ROOT

CONF = (ROOT / "deploy" / "nginx.conf").read_text("utf-8")
REFUSALS = [
    (int(status), json.loads(text))
    for status, text in re.findall(r"return (\d+) '(\{.*\})\\n';", CONF)
]


def seconds(directive: str) -> int:
    found = re.search(rf"^    {directive} (\d+)s;", CONF, re.MULTILINE)
    assert found is not None, directive
    return int(found[1])


@pytest.mark.parametrize(("status", "document"), REFUSALS, ids=[str(one[0]) for one in REFUSALS])
def test_refusals_are_the_problem_documents_of_the_function(status: int, document: Any) -> None:
    assert complaints("problem", document) == []
    known = CODES[document["code"]]
    told = (status, document["status"], document["title"], document["retryable"])
    assert told == (known.status, known.status, known.title, known.retryable)


def test_timeouts_exceed_the_function_duration() -> None:
    settings = Settings.read({})
    example = json.loads((ROOT / "deploy" / "site.example.json").read_text("utf-8"))
    duration = max(settings.duration_seconds, example["limits"]["duration_seconds"])
    # The documented "The caller has an answer within".
    longest = duration + 10 + 3 * settings.rclone.stop_seconds + 1
    assert longest < seconds("proxy_read_timeout") < longest + 60


def test_body_limit_is_that_of_the_function() -> None:
    found = re.search(r"client_max_body_size (\d+)m;", CONF)
    assert found is not None
    assert int(found[1]) << 20 == Settings.read({}).body_bytes


def test_headers_that_the_function_reads_are_passed_on() -> None:
    read = {
        name.lower()
        for file in (
            "service/application.py",
            "service/logs.py",
            "runtimes/flask/app.py",
        )
        for name in re.findall(
            r"header[s.get]*\(\"([\w-]+)\"\)",
            (ROOT / "functions" / "efss_transfer" / file).read_text("utf-8"),
        )
    }
    assert {"authorization", "traceparent", "origin"} <= read
    main = CONF.partition("# Who may call, asked of")[0]
    passed = {name.lower() for name in re.findall(r"proxy_set_header ([\w-]+) ", main)}
    assert read <= passed


def test_paths_are_those_of_the_function() -> None:
    wanted = r'location ~ "\^/schema/\(\?<efss_schema>\(v1/\)\?\(([\w|-]+)\)\)\$"'
    found = re.search(wanted, CONF)
    assert found is not None
    assert set(found[1].split("|")) == set(schemas.NAMES)


def test_one_caller_cannot_occupy_all_threads() -> None:
    unit = (ROOT / "deploy" / "efss-transfer.service").read_text("utf-8")
    threads = re.search(r"^Environment=THREADS=(\d+)$", unit, re.MULTILINE)
    most = re.search(r"limit_conn efss_open (\d+);", CONF)
    assert threads is not None
    assert most is not None
    assert int(most[1]) < int(threads[1])
