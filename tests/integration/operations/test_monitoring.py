"""`deploy/prometheus*`, `deploy/grafana-dashboard.json`: over numbers that a function shows."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families

from efss_transfer.model.errors import CODES
from efss_transfer.model.result import FileState, State
from support import service_process
from support.nginx import gateway, request, tool, until
from support.receivers import SECRET, receiver
from support.service_process import Function
from support.storages import ROOT, Storage

DEPLOY = ROOT / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text("utf-8"))
RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus-rules.yaml").read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPRESSIONS = [*QUERIES, *(rule["expr"] for rule in RULES)]
# What Grafana puts in their place.
VARIABLES = {"$__rate_interval": "1m", "$__range": "10m", "$instance": ".*"}
# Those that Prometheus adds.
OF_PROMETHEUS = {"up"}
LABELS_OF_PROMETHEUS = {"instance", "job", "le"}
KNOWN = {
    "state": {*State, *FileState},
    "code": {*CODES, "none"},
}
SITE = {**service_process.LOOPBACK, "notify": {"secret": {"env": "NOTIFY_SECRET"}}}


def filled(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def promtool(*arguments: str | Path) -> str:
    run = subprocess.run(
        [tool("promtool"), *arguments], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


@pytest.mark.slow
def test_prometheus_takes_the_rules_and_the_example() -> None:
    assert f"{len(RULES)} rules found" in promtool(
        "check", "rules", DEPLOY / "prometheus-rules.yaml"
    )
    # It finds the rules beside it.
    assert "1 rule files found" in promtool("check", "config", DEPLOY / "prometheus.yml")


@pytest.mark.slow
def test_alerts_fire_when_they_should() -> None:
    promtool("test", "rules", DEPLOY / "prometheus-rules.test.yaml")
    document = yaml.safe_load((DEPLOY / "prometheus-rules.test.yaml").read_text("utf-8"))
    shown: dict[bool, set[str]] = {True: set(), False: set()}
    for test in document["tests"]:
        for case in test["alert_rule_test"]:
            shown[bool(case.get("exp_alerts"))].add(case["alertname"])
    alerts = {rule["alert"] for rule in RULES}
    assert shown == {True: alerts, False: alerts}


@pytest.mark.slow
def test_the_tests_of_the_rules_see_a_rule_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "prometheus-rules.test.yaml").write_text(
        (DEPLOY / "prometheus-rules.test.yaml").read_text("utf-8")
    )
    rules = (DEPLOY / "prometheus-rules.yaml").read_text("utf-8")
    (tmp_path / "prometheus-rules.yaml").write_text(rules.replace("> 0.25", "> 0.75"))
    with pytest.raises(AssertionError, match="EfssTransferFailing"):
        promtool("test", "rules", tmp_path / "prometheus-rules.test.yaml")


@pytest.mark.slow
def test_every_query_of_the_dashboard_can_be_read(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": filled(query)} for number, query in enumerate(QUERIES)
    ]
    (tmp_path / "queries.yaml").write_text(
        yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]})
    )
    said = promtool("check", "rules", tmp_path / "queries.yaml")
    assert f"{len(QUERIES)} rules found" in said
    assert "$" not in "".join(map(filled, QUERIES))


@cache
def watched() -> tuple[tuple[str, frozenset[str]], ...]:
    """The names of what is asked for, each with its labels."""
    found = []
    for expression in EXPRESSIONS:
        for name, matchers in re.findall(r"\b(efss_transfer_\w+|up)\b(?:\{(.*?)\})?", expression):
            labels = re.findall(r"(\w+)\s*[!=]", re.sub(r'"[^"]*"', "", matchers))
            found.append((name, frozenset(labels)))
    return tuple(found)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    folder = tmp_path_factory.mktemp("m")
    (folder / "run").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOTIFY_SECRET", SECRET)
        with service_process.function(folder / "run", site=SITE) as made:
            yield made


def test_what_is_asked_for_is_there(running: Function, webdav: Storage, s3: Storage) -> None:
    webdav.fill("watched", {"a": b"a", "b": b"bb"})
    with receiver() as it:
        ends = webdav.endpoint("watched"), s3.endpoint("watched")
        assert running.copy(*ends, notify={"url": it.url}).status_code == 200
    assert running.copy(webdav.endpoint("nothing"), s3.endpoint("nothing")).status_code == 422
    assert running.post(b"{").status_code == 400
    shown: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(running.get("/metrics").text):
        for sample in family.samples:
            shown.setdefault(sample.name, set()).update(sample.labels)
    assert len(watched()) > 40
    for name, labels in watched():
        if name not in OF_PROMETHEUS:
            assert name in shown, name
            assert labels <= shown[name] | LABELS_OF_PROMETHEUS, name
    for expression in EXPRESSIONS:
        for label, texts in re.findall(r'\b(state|code)(?:!=|=~?)"([^"]*)"', expression):
            assert set(texts.split("|")) <= KNOWN[label], expression
        every = set().union(*shown.values()) | LABELS_OF_PROMETHEUS
        for grouped in re.findall(r"\b(?:by|on|without) \(([^)]*)\)", expression):
            assert {label.strip() for label in grouped.split(",")} <= every, expression


def test_the_dashboard_has_room_for_each_panel() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.slow
def test_prometheus_has_an_answer_for_every_panel(
    tmp_path: Path, webdav: Storage, s3: Storage
) -> None:
    """The real one, through the gateway, with the example's configuration."""
    token = {"Authorization": "Bearer canary-monitoring"}
    known = hashlib.sha256(b"canary-monitoring").hexdigest()
    site = {
        **SITE,
        "authentication": {"mode": "tokens", "tokens": [{"caller": "a", "sha256": known}]},
    }
    (tmp_path / "run").mkdir()
    webdav.fill("scraped", {"a": b"a" * 1000})
    with (
        pytest.MonkeyPatch.context() as patch,
        receiver() as it,
        receiver(404) as deaf,
    ):
        patch.setenv("NOTIFY_SECRET", SECRET)
        with (
            service_process.function(tmp_path / "run", unix=tmp_path / "http", site=site),
            gateway(tmp_path / "n", tmp_path / "http") as front,
            prometheus(tmp_path, front.metrics_port) as ask,
        ):
            until(lambda: ask('up{job="efss-transfer"} == 1'), 60)
            copies = [
                {"source": webdav.endpoint("scraped"), "destination": s3.endpoint("scraped")},
                {"source": webdav.endpoint("nothing"), "destination": s3.endpoint("nothing")},
            ]
            # Twice, because a rise is seen from the second number of a kind on.
            for count in (1, 2):
                for body, told in zip(copies, (it, deaf), strict=True):
                    raw = json.dumps({**body, "notify": {"url": told.url}}).encode()
                    assert front.ask("POST", "/", raw, token).status in (200, 422)
                assert front.send(request("POST", "/", b"{", token)).status == 400
                until(
                    lambda count=count: ask(
                        f'efss_transfer_refused_requests_total{{code="invalid_json"}} == {count}'
                    ),
                    60,
                )
            for query in QUERIES:
                assert ask(filled(query)), query
            # Each was evaluated many times by now.
            assert {rule["health"] for rule in ask.rules()} == {"ok"}
            assert {rule["name"] for rule in ask.rules()} == {rule["alert"] for rule in RULES}


class _Prometheus:
    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, query: str) -> list[Any]:
        """What a query gives now."""
        return list(self._get("query", query=query)["result"])

    def rules(self) -> list[dict[str, Any]]:
        """The rules that were loaded, and how they are."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, what: str, **parameters: str) -> Any:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"{self._url}/api/v1/{what}", params=parameters, timeout=30)
        answer.raise_for_status()
        return answer.json()["data"]


@contextmanager
def prometheus(folder: Path, port: int) -> Iterator[_Prometheus]:
    """A Prometheus that reads that port each second, on a port that the kernel chose."""
    home = folder / "prometheus"
    home.mkdir()
    text = (DEPLOY / "prometheus.yml").read_text("utf-8")
    for old, new in {"15s": "1s", ":9464": f":{port}"}.items():
        assert old in text
        text = text.replace(old, new)
    (home / "prometheus.yml").write_text(text)
    (home / "prometheus-rules.yaml").write_text(
        (DEPLOY / "prometheus-rules.yaml").read_text("utf-8")
    )
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={home}/prometheus.yml",
                f"--storage.tsdb.path={home}/data",
                "--web.listen-address=127.0.0.1:0",
            ],
            stdout=log,
            stderr=log,
        )
    ports: list[int] = []

    def listens() -> bool:
        assert process.poll() is None, (home / "log").read_text()
        connections = psutil.Process(process.pid).net_connections("tcp")
        ports[:] = [one.laddr.port for one in connections if one.status == "LISTEN"]
        return bool(ports)

    try:
        until(listens, 60)
        yield _Prometheus(f"http://127.0.0.1:{ports[0]}")
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
