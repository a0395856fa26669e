"""The browser page at GET /: who receives it, its security policy, and its content."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.config.settings import Settings
from efss_transfer.contract import addresses, request_parser
from efss_transfer.model.errors import CODES, InvalidRequest
from efss_transfer.service import page
from efss_transfer.service.application import Service
from efss_transfer.service.http_messages import Request, Response
from efss_transfer.site.site_file import Site
from support.contract import EXAMPLES
from support.node import NPM, node, packages
from support.storages import ROOT

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


def get_root(accept: str | None) -> Response:
    service = Service(Settings.read({}), Site(), {})
    return service.answer(
        Request(
            method="GET",
            path="/",
            header={"Accept": accept}.get,
            content_type="",
            negotiate=lambda: "application/json",
            read_body=lambda _: b"",
            remote="127.0.0.1",
        )
    )


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("TEXT/HTML ; q=0.9, application/json;q=0.2", True),
        (None, False),
        ("", False),
        ("*/*", False),
        ("text/*", False),
        ("application/json", False),
        ("application/json, text/html", False),
        ("application/json, text/html;q=0.9", False),
        ("text/html;q=0", False),
        ("text/html;level=1;q=0.000", False),
        ("application/x-ndjson", False),
    ],
)
def test_page_is_served_when_accept_prefers_html(accept: str | None, html: bool) -> None:
    response = get_root(accept)
    assert response.status == 200
    assert isinstance(response.body, bytes)
    assert "Accept" in response.headers["Vary"].split(", ")
    if html:
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert response.body.startswith(b"<!doctype html>")
    else:
        assert json.loads(response.body)["name"] == "efss-transfer"


def policy() -> dict[str, str]:
    sent = get_root(BROWSER).headers["Content-Security-Policy"]
    return dict(entry.split(" ", 1) for entry in sent.split("; "))


def test_policy_allows_only_what_the_page_needs() -> None:
    sent = policy()
    script, style = sent.pop("script-src"), sent.pop("style-src")
    for source in (script, style):
        assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", source)
    assert sent == {
        "default-src": "'none'",
        "img-src": "data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    headers = get_root(BROWSER).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_policy_hashes_match_the_inline_script_and_style() -> None:
    body = get_root(BROWSER).body
    assert isinstance(body, bytes)
    for directive, tag in (("script-src", b"script"), ("style-src", b"style")):
        [text] = re.findall(rb"<%s[^>]*>(.*?)</%s>" % (tag, tag), body, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
        assert policy()[directive] == f"'sha256-{digest}'"


def test_page_links_no_other_host_and_stores_nothing() -> None:
    text = page.content().decode()
    # Identifiers of JSON Schema and SVG, and a link in a message of the validation library.
    hosts = set(re.findall(r"https?://[\w.-]+", text))
    names = {"http://www.w3.org", "https://json-schema.org", "http://json-schema.org"}
    examples = {"https://cloud.example.org", "https://s3.example.org"}
    assert hosts <= names | examples | {"https://github.com"}
    assert not re.findall(r"<(?:link|script|img|iframe|a)[^>]*(?:src|href)=.?(?:https?:)?//", text)
    for word in (
        "localStorage",
        "sessionStorage",
        "indexedDB",
        "document.cookie",
        "eval(",
        "innerHTML",
    ):
        assert word not in text
    assert " style=" not in text
    assert len(text) < 110_000


def test_committed_page_is_built_from_its_sources() -> None:
    made = subprocess.run([ROOT / "scripts" / "page", "--check"], stdout=subprocess.PIPE, text=True)
    assert made.returncode == 0, made.stdout


SOURCES = ROOT / "functions" / "page"
TEXTS = json.loads((SOURCES / "texts" / "en.json").read_text("utf-8"))


def test_texts_name_every_code_as_the_service_does() -> None:
    assert {code: title for code, (title, _) in TEXTS["codes"].items()} == {
        code: known.title for code, known in CODES.items()
    }


def test_every_text_that_the_page_says_exists() -> None:
    named = set()
    for file in SOURCES.glob("*.js"):
        named |= set(re.findall(r'(?:say|part)\("([\w.]+)"', file.read_text("utf-8")))
    named |= set(re.findall(r"{{([\w.]+)}}", (SOURCES / "page.html").read_text("utf-8")))
    assert len(named) > 100
    for name in named:
        found = TEXTS
        for part in name.split("."):
            assert part in found, name
            found = found[part]


ADDRESSES = {
    # What a browser shows, with the user: what the service needs, and the folder in it.
    "https://cloud.example.org/apps/files/files/118?dir=/a/b": ("FILES", "a/b"),
    "https://cloud.example.org/index.php/apps/files/?dir=/r%C3%A9s&fileid=7": ("FILES", "rés"),
    "https://cloud.example.org/index.php/login": ("FILES", ""),
    "https://cloud.example.org/settings/user/security": ("FILES", ""),
    "https://cloud.example.org/": ("FILES", ""),
    " cloud.example.org ": ("FILES", ""),
    "https://cloud.example.org/f/118": ("FILES", ""),
    "https://cloud.example.org/remote.php/dav": ("FILES", ""),
    "https://cloud.example.org/remote.php/dav/files/": ("FILES", ""),
    "https://cloud.example.org/files/spaces/personal/alice/a/b": ("FILES", "a/b"),
    "https://cloud.example.org/remote.php/dav/files/bob": (
        "https://cloud.example.org/remote.php/dav/files/bob",
        "",
    ),
    "https://cloud.example.org/remote.php/webdav/": (
        "https://cloud.example.org/remote.php/webdav",
        "",
    ),
    "https://cloud.example.org/s/aZ9Token": (
        "https://cloud.example.org/public.php/dav/files/aZ9Token",
        "",
    ),
    "https://cloud.example.org/files/spaces/project/lab/raw?fileId=st%24sp!id": (
        "https://cloud.example.org/dav/spaces/st%24sp",
        "raw",
    ),
    "https://example.org/cloud/index.php/apps/files": (
        "https://example.org/cloud/remote.php/dav/files/al%20ice@x",
        "",
    ),
    "ftp://cloud.example.org": None,
    "not an address": None,
}


def test_page_understands_the_addresses_that_browsers_show(tmp_path: Path) -> None:
    program = (
        f'import {{ efssAddress, sftpAddress }} from "{SOURCES / "presets.js"}";\n'
        'import { readFileSync } from "node:fs";\n'
        'const given = JSON.parse(readFileSync(0, "utf8"));\n'
        'console.log(JSON.stringify([given[0].map((it) => efssAddress(it, "al ice@x")), '
        "given[1].map((it) => sftpAddress(it) ?? null)]));"
    )
    hosts = ["sftp.example.org", "alice@sftp.example.org:2222", "sftp://[::1]:22/", "a b"]
    efss, sftp = json.loads(node(bundled(program, tmp_path), given=[list(ADDRESSES), hosts]))
    files = "https://cloud.example.org/remote.php/dav/files/al%20ice@x"
    for (address, wanted), found in zip(ADDRESSES.items(), efss, strict=True):
        shown = found and (found["url"].replace(files, "FILES"), found["folder"])
        assert shown == wanted, address
        parameters = {"url": address, "vendor": "nextcloud", "user": "al ice@x"}
        meant = addresses.corrected(parameters) if address.startswith("https:") else None
        if meant and "/files/spaces/" not in address:
            assert found["url"] == meant.split("?")[0]
    assert sftp == [
        {"host": "sftp.example.org"},
        {"host": "sftp.example.org", "port": 2222, "user": "alice"},
        {"host": "::1", "port": 22},
        None,
    ]


def bundled(program: str, folder: Path) -> Path:
    (folder / "program.mjs").write_text(program, "utf-8")
    [esbuild] = (packages() / "@esbuild").glob("*/bin/esbuild")
    subprocess.run(
        [
            *(esbuild, folder / "program.mjs", "--bundle", "--platform=node", "--format=esm"),
            *("--log-level=warning", f"--outfile={folder / 'made.mjs'}"),
        ],
        env={"NODE_PATH": str(NPM / "node_modules")},
        check=True,
    )
    return folder / "made.mjs"


CHECK = """
import { checker } from "SOURCE";
import { readFileSync } from "node:fs";
const check = checker(JSON.parse(readFileSync("SCHEMA", "utf8")));
console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map((it) => check(it))));
"""


@pytest.fixture(scope="module")
def page_violations(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The violations that the page finds in every example, by name of the example."""
    folder = tmp_path_factory.mktemp("page")
    source = ROOT / "functions" / "page" / "validation.js"
    program = CHECK.replace("SOURCE", str(source))
    program = program.replace("SCHEMA", str(ROOT / "schema" / "request.schema.json"))
    made = bundled(program, folder)
    files = [file for kind in ("valid", "invalid") for file in sorted((EXAMPLES / kind).glob("*"))]
    documents = [json.loads(file.read_text("utf-8")) for file in files]
    given = [it.get("request") if "expected" in it else it for it in documents]
    found = json.loads(node(made, given=given))
    return {f"{file.parent.name}/{file.stem}": it for file, it in zip(files, found, strict=True)}


def test_page_accepts_every_valid_example(page_violations: Any) -> None:
    assert {
        name: it for name, it in page_violations.items() if name.startswith("valid/") and it
    } == {}
    assert len(page_violations) > 100


@pytest.mark.parametrize(
    "name", [file.stem for file in sorted((EXAMPLES / "invalid").glob("*.json"))]
)
def test_page_reports_the_same_violations_as_the_service(page_violations: Any, name: str) -> None:
    example = json.loads((EXAMPLES / "invalid" / f"{name}.json").read_text("utf-8"))
    with pytest.raises(InvalidRequest) as refused:
        request_parser.parse(json.dumps(example["request"]).encode())
    # The page leaves duplicate paths and shard indexes beyond the count to the service.
    wanted = {
        (it.pointer, it.keyword, it.message)
        for it in refused.value.violations
        if it.keyword != "distinct"
        and (it.pointer, it.keyword) != ("/selection/shard/index", "order")
    }
    shown = {
        (it["pointer"], it["keyword"], it["message"]) for it in page_violations[f"invalid/{name}"]
    }
    assert shown == wanted
