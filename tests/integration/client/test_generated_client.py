"""Clients that standard generators write from /openapi.json copy through the real function."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.node import compiles, node, packages
from support.service_process import Function
from support.storages import Storage

pytestmark = pytest.mark.slow

_PYTHON = """
import json, sys
from made.api.default import describe, transfer
from made.client import Client
from made.models import Request
url, request = sys.argv[1], json.loads(sys.stdin.read())
client = Client(base_url=url, timeout=120)
told = transfer.sync_detailed(client=client, body=Request.from_dict(request))
print(json.dumps({
    "status": told.status_code,
    "kind": type(told.parsed).__name__,
    "told": told.parsed.to_dict(),
    "engines": describe.sync(client=client).engines,
}))
"""
_TYPESCRIPT = """
import createClient from "openapi-fetch";
import type { components, paths } from "./openapi.js";

const [url, given] = (globalThis as any).process.argv.slice(2) as [string, string];
const client = createClient<paths>({ baseUrl: url });
const body: components["schemas"]["request"] = JSON.parse(given);
const { data, error, response } = await client.POST("/", { body });
// The types know all ways that it can end: a text would be a stream, and a problem with a status
// below 300 a copy that goes on by itself (`options.detach`).
const result = typeof data === "object" && "totals" in data ? data : undefined;
const kind = result ? `${result.state} ${result.totals.files.transferred}` : `${error?.code}`;
console.log(JSON.stringify({ status: response.status, kind, told: data ?? error }));
"""


@pytest.fixture(scope="module")
def description(shared_function: Function, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("d") / "openapi.json"
    file.write_bytes(shared_function.get("/openapi.json").content)
    return file


@pytest.fixture(scope="module")
def in_python(description: Path) -> Path:
    command = str(Path(sys.executable).parent / "openapi-python-client")
    target = description.parent / "made"
    made = subprocess.run(
        [
            *(command, "generate", f"--path={description}", f"--output-path={target}"),
            *("--meta=none", "--fail-on-warning"),
        ],
        env={"PATH": str(Path(sys.executable).parent)},
        text=True,
        capture_output=True,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return description.parent


@pytest.fixture(scope="module")
def in_typescript(description: Path) -> Path:
    folder = description.parent
    command = packages() / "openapi-typescript" / "bin" / "cli.js"
    node(command, description, "-o", folder / "openapi.ts")
    (folder / "client.ts").write_text(_TYPESCRIPT, "utf-8")
    compiles(folder, "client.ts")
    return folder


def of_python(folder: Path, url: str, request: Any) -> Any:
    ran = subprocess.run(
        [sys.executable, "-c", _PYTHON, url],
        input=json.dumps(request),
        cwd=folder,
        text=True,
        capture_output=True,
        env={},
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_a_client_in_python_copies(
    in_python: Path, function: Function, webdav: Storage, s3: Storage
) -> None:
    expected = webdav.fill("made", {"a.bin": b"a" * 4096, "deep/b.bin": b"b"})
    request = {
        "id": "made-in-python",
        "source": webdav.endpoint("made"),
        "destination": s3.endpoint("made-py"),
        "options": {"verify": "checksum", "report": "all"},
    }

    told = of_python(in_python, function.url, request)

    assert (told["status"], told["kind"]) == (200, "Result")
    assert told["told"]["id"] == "made-in-python"
    assert s3.hashes("bucket/made-py") == expected
    assert "rclone" in told["engines"]


def test_a_client_in_python_reads_a_problem(
    in_python: Path, function: Function, webdav: Storage, s3: Storage
) -> None:
    request = {"source": webdav.endpoint("nowhere"), "destination": s3.endpoint("x")}

    told = of_python(in_python, function.url, request)

    assert (told["status"], told["kind"]) == (422, "Problem")
    assert told["told"]["code"] == "source_not_found"
    assert told["told"]["result"]["state"] == "failed"


def test_a_client_in_typescript_copies(
    in_typescript: Path, function: Function, webdav: Storage, s3: Storage
) -> None:
    expected = webdav.fill("typed", {"a.bin": b"a" * 4096, "deep/b.bin": b"b"})
    request = {"source": webdav.endpoint("typed"), "destination": s3.endpoint("typed")}

    told = json.loads(node("client.js", function.url, json.dumps(request), at=in_typescript))

    assert (told["status"], told["kind"]) == (200, "succeeded 2")
    assert s3.hashes("bucket/typed") == expected

    request["source"] = webdav.endpoint("nowhere")
    told = json.loads(node("client.js", function.url, json.dumps(request), at=in_typescript))
    assert (told["status"], told["kind"]) == (422, "source_not_found")
