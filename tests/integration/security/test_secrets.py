"""A canary in a request is looked for in all that anybody could see of it."""

from __future__ import annotations

import base64
import http.server
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from support import http_servers, service_process
from support.http_servers import reply
from support.service_process import Function
from support.storages import Storage
from support.watching import Watching

CANARY = "kAnArY-7/+ %&\"'é-do-not-show"
KEY_LINE = "b3BlbnNzaC1rZXktdjEAAAAACANARYLINECANARYLINE"
FORMS = {
    CANARY,
    quote(CANARY),
    quote(CANARY, safe=""),
    json.dumps(CANARY)[1:-1],
    json.dumps(CANARY, ensure_ascii=False)[1:-1],
    base64.b64encode(CANARY.encode()).decode()[:20],
    "kAnArY",
    KEY_LINE,
}


def assert_hidden(where: str, text: str) -> None:
    for form in FORMS:
        assert form not in text, f"a secret is in {where}"


class Watch(Watching):
    """Looks at every process and file of a function while it works."""

    period = 0.005

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function
        self.seen = 0
        self.problems: list[str] = []

    def look(self) -> None:
        for process in self.function.family():
            try:
                # In this order: what has just been forked is the function itself until
                # it is another program, and then its environment is that program's.
                program = " ".join(process.cmdline())
                environment = str(process.environ())
                self.seen += process.name() == "rclone"
            except psutil.Error:
                continue
            self._search(f"process {program}", program + environment)
        # Not rglob: a folder that is removed while it looks would end it, and the watch.
        for folder, _, names in os.walk(self.function.runtime_dir):
            for file in (Path(folder, name) for name in names):
                try:
                    if file.is_file():
                        self._search(str(file), file.read_text(errors="replace"))
                except OSError:
                    continue

    def _search(self, where: str, text: str) -> None:
        self.problems += [where for form in FORMS if form in text]


# What is shown at DEBUG holds all that the other levels show.
@pytest.fixture(
    params=["DEBUG", *(pytest.param(level, marks=pytest.mark.slow) for level in ("INFO", "ERROR"))]
)
def watched(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Function]:
    (tmp_path / "run").mkdir()
    with service_process.function(
        tmp_path / "run", LOG_LEVEL=request.param, BOOT_SECONDS="10"
    ) as running:
        yield running


def echo(handler: http.server.BaseHTTPRequestHandler) -> None:
    """A server that shows everything that it was sent: header, decoded header, URL."""
    authorization = handler.headers.get("Authorization", "")
    decoded = ""
    if authorization.startswith("Basic "):
        decoded = base64.b64decode(authorization[6:]).decode("utf-8", "replace")
    text = f"no: {authorization} {decoded} {handler.path} {dict(handler.headers)} {CANARY}"
    reply(handler, 500, text.encode("utf-8", "replace"), "text/plain")


def endpoints(url: str) -> list[dict[str, Any]]:
    host = {"host": "127.0.0.1", "port": 1, "user": "alice"}
    pem = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{KEY_LINE}\n-----END OPENSSH PRIVATE KEY-----"
    account = json.dumps({"type": "service_account", "private_key": f"{CANARY}\n{KEY_LINE}\n"})
    return [
        {
            "type": "webdav",
            "parameters": {"url": url, "user": "alice", "pass": CANARY},
            "path": "x",
        },
        {"type": "webdav", "parameters": {"url": url, "bearer_token": CANARY}, "path": "x"},
        {
            "type": "s3",
            "parameters": {
                "endpoint": url,
                "access_key_id": "kAnArY-id",
                "secret_access_key": CANARY,
                "session_token": CANARY,
            },
            "path": "bucket/x",
        },
        {"type": "sftp", "parameters": {**host, "pass": CANARY}, "path": "x"},
        {
            "type": "sftp",
            "parameters": {**host, "key_pem": pem, "key_file_pass": CANARY},
            "path": "x",
        },
        {"type": "ftp", "parameters": {**host, "pass": CANARY}, "path": "x"},
        {
            "type": "google cloud storage",
            "parameters": {"endpoint": url, "service_account_credentials": account},
            "path": "bucket/x",
        },
        {
            "type": "google cloud storage",
            "parameters": {"endpoint": url, "access_token": CANARY},
            "path": "bucket/x",
        },
    ]


@pytest.mark.slow
def test_no_secret_is_shown_whatever_fails(watched: Function, webdav: Storage) -> None:
    webdav.fill("secrets", {"a": b"a"})
    with http_servers.misbehaving(echo) as url, Watch(watched) as watch:
        for endpoint in endpoints(url):
            for body in (
                {"source": endpoint, "destination": webdav.endpoint("out")},
                {"source": webdav.endpoint("secrets"), "destination": endpoint},
            ):
                for accept in ("application/json", "application/x-ndjson"):
                    answer = watched.post(body, headers={"Accept": accept})
                    assert_hidden("an answer", answer.text + str(answer.headers))
                    shown = json.loads(answer.text.splitlines()[-1])
                    shown = shown.get("result", shown)
                    assert shown["state"] == "failed", "or nothing was shown"
    assert watch.seen > 20, "the watch saw too little to mean anything"
    assert watch.problems == []
    assert_hidden("the log", watched.log.read_text())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda e: e["parameters"].update(unknown=CANARY),
        lambda e: e["parameters"].update({"pass": [CANARY]}),
        lambda e: e["parameters"].update({"pass": CANARY + "\n"}),
        lambda e: e["parameters"].update(url=f"https://alice:{quote(CANARY)}@example.org/"),
        lambda e: e["parameters"].update(url=f"https://example.org/?sig={quote(CANARY)}"),
        lambda e: e["parameters"].update(url=CANARY),
        lambda e: e["parameters"].update(vendor=CANARY),
        lambda e: e.update(type=CANARY),
        lambda e: e.update(path=CANARY + "\x00"),
        lambda e: e.update(parameters=CANARY),
    ],
)
def test_no_refusal_shows_what_was_wrong(function: Function, webdav: Storage, spoil: Any) -> None:
    endpoint = webdav.endpoint("x")
    spoil(endpoint)
    answer = function.copy(webdav.endpoint("y"), endpoint)
    assert answer.status_code == 400
    assert_hidden("a refusal", answer.text)
    assert_hidden("the log", function.log.read_text())


def test_json_that_is_cut_off_is_not_shown(function: Function) -> None:
    answer = function.post(json.dumps({"source": CANARY}).encode()[:-1])
    assert answer.json()["code"] == "invalid_json"
    assert_hidden("a refusal", answer.text + function.log.read_text())


def test_secrets_stay_apart_between_requests_at_once(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    """A result tells of its own files only."""
    from concurrent.futures import ThreadPoolExecutor

    for number in range(6):
        webdav.fill(f"apart-{number}", {f"of-{number}-{n}.txt": b"x" for n in range(20)})

    def copy(number: int) -> set[str]:
        answer = function.copy(
            webdav.endpoint(f"apart-{number}"),
            s3.endpoint(f"apart-{number}"),
            id=f"id-{number}",
            options={"report": "all"},
        ).json()
        assert answer["id"] == f"id-{number}"
        return {file["path"] for file in answer["files"]}

    with ThreadPoolExecutor(6) as pool:
        for number, paths in enumerate(pool.map(copy, range(6))):
            assert paths == {f"of-{number}-{n}.txt" for n in range(20)}


def test_what_the_operator_has_set_for_rclone_does_not_reach_a_transfer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, webdav: Storage, s3: Storage
) -> None:
    """Its environment beats what a remote is created with, and holds the host's own keys."""
    (tmp_path / "run").mkdir()
    (tmp_path / "aws").write_text("[default]\naws_access_key_id = x\n")
    for name, value in {
        "RCLONE_CONFIG_SOURCE_TYPE": "local",
        "RCLONE_CONFIG_DESTINATION_URL": "http://127.0.0.1:1",
        "RCLONE_WEBDAV_URL": "http://127.0.0.1:1",
        "RCLONE_DRY_RUN": "true",
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "aws"),
        "AWS_ACCESS_KEY_ID": CANARY,
    }.items():
        monkeypatch.setenv(name, value)
    hashes = webdav.fill("apart", {"a": b"a"})
    with service_process.function(tmp_path / "run") as own, Watch(own) as watch:
        itself = {" ".join(p.cmdline()) for p in own.family()}
        answer = own.copy(webdav.endpoint("apart"), s3.endpoint("operator"))
    assert answer.status_code == 200, answer.text
    assert s3.hashes("bucket/operator") == hashes
    # Only the function itself, whose environment that is, has them.
    assert watch.seen, "the watch saw no rclone"
    assert set(watch.problems) <= {f"process {program}" for program in itself}
