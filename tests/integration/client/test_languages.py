"""The clients of our page, in each language: run as they stand, and the bytes compared."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Route

from efss_transfer.service.webhook import signature
from support import service_process
from support.browser import chromium, opened
from support.doc_blocks import CLIENTS, DOCS, written
from support.http_servers import misbehaving, multistatus, reply
from support.nginx import tool
from support.receivers import KEY, SECRET
from support.service_process import Function
from support.storages import ROOT, Storage, digest

PAGE = DOCS / "how-to" / "clients.md"
TOKEN = "canary-token-of-the-clients"
SITE = {
    **service_process.LOOPBACK,
    "authentication": {
        "mode": "tokens",
        "tokens": [{"caller": "app", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}],
    },
    "callers": {"app": {}},
    "notify": {"secret": {"env": "NOTIFY_SECRET"}},
}
LANGUAGES = ("python", "node", "curl", "php")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOTIFY_SECRET", SECRET)
        with service_process.function(tmp_path_factory.mktemp("clients"), site=SITE) as made:
            yield made


def command(language: str) -> list[str]:
    """How a reader starts the program."""
    return {
        "python": [sys.executable, "transfer.py"],
        "node": [str(ROOT / ".venv" / "bin" / "node"), "node.mjs"],
        "curl": ["sh", "copy.sh"],
        "php": [tool("php"), "copy.php"],
    }[language]


def started(language: str, folder: Path, url: str, request: Any) -> subprocess.Popen[str]:
    """The program, in a folder with the page's files and that request."""
    written(PAGE, folder, *CLIENTS)
    (folder / "request.json").write_text(json.dumps(request), "utf-8")
    environment = {
        "PATH": f"{Path(tool('curl')).parent}:{os.environ['PATH']}",
        "EFSS_TRANSFER_URL": url,
        "EFSS_TRANSFER_TOKEN": TOKEN,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "PYTHONUNBUFFERED": "1",
    }
    return subprocess.Popen(
        command(language),
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def gated(content: bytes, go_on: threading.Event) -> Iterator[dict[str, Any]]:
    """A WebDAV server with one file, whose second half it sends when it may."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.rstrip("/")
        if handler.command == "PROPFIND":
            entries = {"/data": ["/data/", "/data/a.bin"], "/data/a.bin": ["/data/a.bin"]}
            shown = entries.get(path, [])
            if handler.headers.get("Depth") == "0":
                shown = shown[:1]
            sizes = dict.fromkeys(shown, len(content))
            reply(handler, 207 if shown else 404, multistatus(sizes), "text/xml")
        elif handler.command == "GET":
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            half = len(content) // 2
            handler.wfile.write(content[:half])
            go_on.wait(60)
            handler.wfile.write(content[half:])
        else:
            reply(handler, 405)

    with misbehaving(answer) as url:
        yield {"type": "webdav", "parameters": {"url": url, "vendor": "other"}, "path": "data"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_client_shows_progress_while_it_copies(
    running: Function, s3: Storage, tmp_path: Path, language: str
) -> None:
    name, content, go_on = uuid.uuid4().hex, os.urandom(2_000_000), threading.Event()
    with gated(content, go_on) as source:
        request = {"source": source, "destination": s3.endpoint(name)}
        with started(language, tmp_path, running.url, request) as program:
            assert program.stdout is not None
            said = []
            try:
                for line in program.stdout:
                    said.append(line)
                    # The copy cannot end before this line is read.
                    if re.search(r'\d+ of \d+ bytes|"event": ?"progress"', line):
                        go_on.set()
            finally:
                go_on.set()
                program.wait(60)
    assert program.returncode == 0, said
    assert "succeeded" in said[-1]
    assert s3.hashes(f"bucket/{name}") == {"a.bin": digest(content)}


@pytest.mark.slow
@pytest.mark.parametrize("language", LANGUAGES)
def test_client_copies_a_tree(
    running: Function, webdav: Storage, s3: Storage, tmp_path: Path, language: str
) -> None:
    name = uuid.uuid4().hex
    hashes = webdav.fill(name, {"a.txt": b"a", "b/ü c.bin": os.urandom(300_000), "empty": b""})
    request = {"source": webdav.endpoint(name), "destination": s3.endpoint(name)}
    with started(language, tmp_path, running.url, request) as program:
        said, _ = program.communicate(timeout=60)
    assert program.returncode == 0, said
    assert s3.hashes(f"bucket/{name}") == hashes


@pytest.mark.parametrize("language", LANGUAGES)
def test_client_says_what_is_wrong_with_a_request(
    running: Function, webdav: Storage, s3: Storage, tmp_path: Path, language: str
) -> None:
    request = {"source": {**webdav.endpoint(), "type": "wedbav"}, "destination": s3.endpoint("x")}
    with started(language, tmp_path, running.url, request) as program:
        said, _ = program.communicate(timeout=60)
    assert program.returncode == 1
    assert "/source/type" in said
    assert "Did you mean `webdav`?" in said
    assert TOKEN not in said
    assert webdav.parameters["pass"] not in said


@pytest.mark.slow
def test_page_of_an_app_copies_in_a_browser(
    running: Function, webdav: Storage, s3: Storage, tmp_path: Path
) -> None:
    name = uuid.uuid4().hex
    hashes = webdav.fill(name, {"a.txt": b"a", "b/c.bin": os.urandom(300_000)})
    written(PAGE, tmp_path, "index.html", "copy.mjs")

    def served(route: Route) -> None:
        # As a gateway serves it, under the service's own name.
        file = tmp_path / route.request.url.rpartition("/")[2]
        kind = "text/html" if file.suffix == ".html" else "text/javascript"
        route.fulfill(body=file.read_text("utf-8"), content_type=kind)

    with chromium() as browser, opened(browser, running.url) as seen:
        seen.page.route("**/app/*", served)
        seen.page.goto(f"{running.url}/app/index.html")

        def copied(request: Any) -> str:
            seen.page.get_by_label("Request").fill(json.dumps(request))
            seen.page.get_by_label("Token").fill(TOKEN)
            seen.page.get_by_role("status").evaluate("(it) => { it.textContent = ''; }")
            seen.page.get_by_role("button", name="Copy").click()
            seen.page.wait_for_function("document.querySelector('[role=status]').textContent")
            return seen.text("[role=status]")

        good = {"source": webdav.endpoint(name), "destination": s3.endpoint(name)}
        assert copied(good) == "succeeded"
        assert "Give `pass` or `key_pem`." in copied(
            {
                **good,
                "source": {"type": "sftp", "parameters": {"host": "h", "user": "u"}, "path": ""},
            }
        )
    assert s3.hashes(f"bucket/{name}") == hashes


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The page's receiver, and its address."""
    written(PAGE, tmp_path, "receiver.py")
    with service_process.listening() as probe:
        port = probe.getsockname()[1]
    environment = {"NOTIFY_SECRET": SECRET, "PORT": str(port), "PATH": os.environ["PATH"]}
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        [sys.executable, "receiver.py"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as program:
        try:
            until = time.monotonic() + 30
            while True:
                try:
                    post(url, {}, b"")
                except requests.ConnectionError:
                    assert time.monotonic() < until
                    time.sleep(0.05)
                else:
                    break
            yield url, program
        finally:
            program.kill()


def post(url: str, headers: dict[str, str], body: bytes) -> int:
    with requests.Session() as session:
        session.trust_env = False
        sent = {"webhook-id": "x", "webhook-timestamp": "0", **headers}
        return session.post(url, data=body, headers=sent, timeout=30).status_code


def test_receiver_accepts_what_the_service_sends_and_nothing_else(
    running: Function,
    webdav: Storage,
    s3: Storage,
    receiver: tuple[str, subprocess.Popen[str]],
) -> None:
    url, program = receiver
    name = uuid.uuid4().hex
    hashes = webdav.fill(name, {"a.txt": b"a", "b.txt": b"bb"})
    answer = running.post(
        {
            "id": "run-42",
            "source": webdav.endpoint(name),
            "destination": s3.endpoint(name),
            "notify": {"url": url},
        },
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["notification"] == {"delivered": True, "attempts": 1, "status": 204}
    assert s3.hashes(f"bucket/{name}") == hashes
    assert program.stdout is not None
    assert program.stdout.readline() == (
        "efss-transfer.transfer.succeeded run-42 {'transferred': 2, 'skipped': 0, 'failed': 0}\n"
    )

    now, body = int(time.time()), b'{"type": "forged"}'
    good = {"webhook-timestamp": str(now), "webhook-signature": signature(KEY, "x", now, body)}
    of_others = signature(b"another key of 24 bytes!", "x", now, body)
    assert post(url, {**good, "webhook-signature": of_others}, body) == 401
    assert post(url, good, body + b" ") == 401
    assert post(url, {**good, "webhook-id": "y"}, body) == 401
    old = now - 3600
    repeated = {"webhook-timestamp": str(old), "webhook-signature": signature(KEY, "x", old, body)}
    assert post(url, repeated, body) == 401
