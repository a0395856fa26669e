"""What storages refuse, each with its own code, and the side that it is on."""

from __future__ import annotations

import http.server
import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from support import contract, http_servers
from support.http_servers import reply
from support.service_process import GATEWAY, Function
from support.storages import Storage


def refused(answer: requests.Response) -> tuple[int, str, str | None]:
    """The status, the code, and the side of a problem, which must fit its schema."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert contract.complaints("problem", problem) == []
    assert problem["status"] == answer.status_code
    (group,) = problem["result"]["errors"]
    assert group["code"] == problem["code"]
    return answer.status_code, problem["code"], group.get("side")


@pytest.fixture
def filled(webdav: Storage) -> str:
    path = uuid.uuid4().hex
    webdav.fill(path, {"a.txt": b"a", "b/c.txt": b"c"})
    return path


@pytest.mark.parametrize("name", ["wsgidav", "rclone", "s3", "sftp", "ftp", "gcs"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_source_that_is_missing(
    function: Function, storages: dict[str, Storage], s3: Storage, name: str, slash: str
) -> None:
    target = s3 if name != "s3" else storages["wsgidav"]
    answer = function.copy(
        storages[name].endpoint(f"missing-{uuid.uuid4().hex}{slash}"), target.endpoint("x")
    )
    assert refused(answer) == (422, "source_not_found", "source")
    assert answer.json()["result"]["rclone"]["exit_code"] == 3
    assert answer.json()["retryable"] is False


def test_a_bucket_that_is_missing(function: Function, webdav: Storage, s3: Storage) -> None:
    answer = function.copy({**s3.endpoint(), "path": "no-such-bucket/x"}, webdav.endpoint("x"))
    assert refused(answer) == (422, "source_not_found", "source")


@pytest.mark.parametrize("name", ["wsgidav", "rclone", "sftp", "ftp"])
def test_a_wrong_password(
    function: Function, storages: dict[str, Storage], s3: Storage, name: str
) -> None:
    s3.fill("bucket/password", {"a": b"a"})
    wrong = storages[name].endpoint("x", **{"pass": "wrong-password"})

    answer = function.copy(wrong, s3.endpoint("y"))
    assert refused(answer) == (422, "authentication_failed", "source")
    assert answer.json()["retryable"] is False

    answer = function.copy(s3.endpoint("password"), wrong)
    assert refused(answer) == (422, "authentication_failed", "destination")


NO_KEY = json.dumps({"type": "service_account", "private_key": "this is no key"})


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("sftp", {"host": "127.0.0.1", "port": 1, "user": "u", "key_pem": "this is no key"}),
        ("google cloud storage", {"service_account_credentials": NO_KEY}),
    ],
)
def test_a_key_that_is_none(
    function: Function, webdav: Storage, kind: str, parameters: Any
) -> None:
    source = {"type": kind, "parameters": parameters, "path": "bucket/x"}
    answer = function.copy(source, webdav.endpoint("x"))
    assert refused(answer) == (422, "authentication_failed", "source")


@pytest.fixture
def guarded_s3(s3: Storage) -> Iterator[Storage]:
    """moto's S3, which asks for a signature from now on, and knows no key at all."""
    url = s3.details["url"]
    s3.fill("bucket/guarded", {"a": b"a"})
    before = requests.post(f"{url}/moto-api/reset-auth", data=b"0", timeout=10).json()
    yield s3
    requests.post(
        f"{url}/moto-api/reset-auth",
        data=before["PREVIOUS_INITIAL_NO_AUTH_ACTION_COUNT"].encode(),
        timeout=10,
    )


@pytest.mark.parametrize("path", ["guarded", "guarded/", "guarded/a", "", "missing"])
def test_wrong_keys_of_s3_are_not_taken_for_a_file(
    function: Function, guarded_s3: Storage, webdav: Storage, path: str
) -> None:
    answer = function.copy(guarded_s3.endpoint(path), webdav.endpoint("x"))
    assert refused(answer) == (422, "authentication_failed", "source")


@pytest.mark.parametrize("path", ["guarded", "new/folder", "new/folder/", ""])
def test_wrong_keys_of_s3_at_the_destination(
    function: Function, guarded_s3: Storage, webdav: Storage, filled: str, path: str
) -> None:
    for source in (filled, f"{filled}/a.txt"):
        answer = function.copy(webdav.endpoint(source), guarded_s3.endpoint(path))
        assert answer.status_code == 422, answer.text
        assert answer.json()["code"] == "authentication_failed"
        assert {group.get("side") for group in answer.json()["result"]["errors"]} == {"destination"}


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("webdav", {"url": "http://127.0.0.1:1/dav"}),
        ("webdav", {"url": "http://host.invalid/dav"}),
        ("s3", {"anonymous": True, "endpoint": "http://127.0.0.1:1"}),
        ("sftp", {"host": "127.0.0.1", "port": 1, "user": "u", "pass": "some-password"}),
        ("ftp", {"host": "127.0.0.1", "port": 1, "user": "u", "pass": "some-password"}),
    ],
    ids=["webdav", "webdav without a name", "s3", "sftp", "ftp"],
)
@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_host_that_does_not_answer(
    function: Function, webdav: Storage, filled: str, kind: str, parameters: Any, side: str
) -> None:
    dead = {"type": kind, "parameters": parameters, "path": "some/folder"}
    began = time.monotonic()
    answer = (
        function.copy(dead, webdav.endpoint("x"))
        if side == "source"
        else function.copy(webdav.endpoint(filled), dead)
    )
    assert refused(answer) == (502, "storage_unreachable", side)
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_a_bucket_whose_host_does_not_answer_is_given_up_before_every_file_is_tried(
    function: Function, webdav: Storage
) -> None:
    many = uuid.uuid4().hex
    webdav.fill(many, {f"{number}.txt": b"x" for number in range(100)})
    dead = {
        "type": "s3",
        "parameters": {"anonymous": True, "endpoint": "http://127.0.0.1:1"},
        "path": "bucket",
    }
    began = time.monotonic()
    answer = function.copy(webdav.endpoint(many), dead)
    assert time.monotonic() - began < 60
    assert answer.status_code == 502, answer.text
    assert answer.json()["code"] == "storage_unreachable"


def test_a_login_page_is_not_an_empty_folder(function: Function, s3: Storage) -> None:
    page = b"<!DOCTYPE html><html><head><title>Log in</title></head><body></body></html>"
    with http_servers.misbehaving(lambda handler: reply(handler, 200, page, "text/html")) as url:
        for path in ("", "folder", "folder/"):
            source = {"type": "webdav", "parameters": {"url": url}, "path": path}
            answer = function.copy(source, s3.endpoint("login"))
            assert refused(answer) == (422, "unsupported", "source")
            assert "login page" in answer.json()["detail"]


def test_a_redirect_to_a_login_page(function: Function, s3: Storage) -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.path == "/login":
            return reply(handler, 200, b"<html><form></form></html>", "text/html")
        handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        handler.send_response(302)
        handler.send_header("Location", "/login")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return None

    with http_servers.misbehaving(answer) as url:
        source = {"type": "webdav", "parameters": {"url": url}, "path": "folder"}
        status, _, side = refused(function.copy(source, s3.endpoint("login")))
        assert status in (422, 502)
        assert side == "source"


def test_a_login_page_as_the_destination(function: Function, webdav: Storage, filled: str) -> None:
    page = b"<html><form></form></html>"
    with http_servers.misbehaving(lambda handler: reply(handler, 200, page, "text/html")) as url:
        answer = function.copy(
            webdav.endpoint(filled), {"type": "webdav", "parameters": {"url": url}, "path": "x"}
        )
        status, _, side = refused(answer)
        assert status >= 400
        assert side == "destination"
        assert answer.json()["result"]["totals"]["files"] == {
            "transferred": 0,
            "skipped": 0,
            # The gateway finds no list in the page, so no file is sent there.
            "failed": 0 if GATEWAY else 2,
        }


def test_a_url_that_is_itself_a_file(
    function: Function, webdav: Storage, s3: Storage, filled: str
) -> None:
    url = f"{webdav.parameters['url']}/{filled}/a.txt"
    answer = function.copy({**webdav.endpoint("", url=url), "path": ""}, s3.endpoint("url"))
    assert answer.status_code == 422, answer.text
    assert refused(answer)[1:] == ("not_a_directory", "source")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "authentication_failed"),
        (403, "permission_denied"),
        (405, "unsupported"),
        (423, "storage_busy"),
        (429, "storage_busy"),
        (503, "storage_busy"),
        (500, "storage_error"),
    ],
)
@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_webdav_server_that_refuses_everything(
    function: Function, webdav: Storage, filled: str, status: int, code: str, side: str
) -> None:
    with http_servers.misbehaving(lambda handler: reply(handler, status)) as url:
        broken = {"type": "webdav", "parameters": {"url": url}, "path": "x"}
        answer = (
            function.copy(broken, webdav.endpoint("x"))
            if side == "source"
            else function.copy(webdav.endpoint(filled), broken)
        )
    assert refused(answer)[1:] == (code, side)
    if code == "storage_busy":
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("status", "code", "http_status"),
    [
        (507, "quota_exceeded", 507),
        (403, "permission_denied", 422),
        pytest.param(423, "storage_busy", 503, marks=pytest.mark.slow),
    ],
)
def test_a_destination_that_can_be_read_but_refuses_every_upload(
    function: Function, webdav: Storage, filled: str, status: int, code: str, http_status: int
) -> None:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        if handler.command == "PROPFIND":
            known = handler.path.rstrip("/") in ("/x", "/x/b", "")
            shown = {handler.path.rstrip("/") + "/": 0} if known else {}
            reply(handler, 207 if known else 404, http_servers.multistatus(shown), "text/xml")
        else:
            reply(handler, status if handler.command == "PUT" else 201)

    with http_servers.misbehaving(answer) as url:
        problem = function.copy(
            webdav.endpoint(filled), {"type": "webdav", "parameters": {"url": url}, "path": "x"}
        )
    assert refused(problem) == (http_status, code, "destination")
    failed = problem.json()["result"]["files"]
    assert sorted(file["path"] for file in failed) == ["a.txt", "b/c.txt"]
    assert {file["error"]["code"] for file in failed} == {code}


def test_some_files_that_fail_make_it_partial(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    with http_servers.misbehaving(_one_file_broken) as url:
        answer = function.copy(
            {"type": "webdav", "parameters": {"url": url}, "path": "data"}, s3.endpoint("partial")
        )
    assert answer.status_code == 502
    problem = answer.json()
    assert problem["code"] == "partial"
    assert problem["result"]["state"] == "partial"
    assert problem["result"]["totals"]["files"] == {"transferred": 1, "skipped": 0, "failed": 1}
    assert [file["path"] for file in problem["result"]["files"]] == ["bad.txt"]
    assert problem["result"]["files"][0]["error"]["side"] == "source"
    assert list(s3.hashes("bucket/partial")) == ["good.txt"]


def _one_file_broken(handler: http.server.BaseHTTPRequestHandler) -> None:
    sizes = {"/data/good.txt": 4, "/data/bad.txt": 4}
    path = handler.path.rstrip("/")
    if handler.command == "PROPFIND":
        shown = {path: 4} if path in sizes else {"/data/": 0, **sizes}
        reply(handler, 207, http_servers.multistatus(shown), "text/xml")
    else:
        reply(handler, 403 if "bad" in path else 200, b"good")


def test_a_folder_onto_a_file(
    function: Function, webdav: Storage, s3: Storage, filled: str
) -> None:
    s3.fill("bucket/onto", {"a": b"a"})
    answer = function.copy(s3.endpoint("onto"), webdav.endpoint(f"{filled}/a.txt"))
    assert refused(answer) == (422, "not_a_directory", "destination")


def test_a_file_that_is_called_a_folder(
    function: Function, webdav: Storage, s3: Storage, filled: str
) -> None:
    answer = function.copy(webdav.endpoint(f"{filled}/a.txt/"), s3.endpoint("x"))
    status, code, side = refused(answer)
    assert (status, side) == (422, "source")
    assert code in ("not_a_directory", "source_not_found")


@pytest.mark.parametrize("below", ["", "/", "/b", "//b/"])
def test_the_same_place_on_both_sides_is_refused_before_anything_starts(
    function: Function, webdav: Storage, below: str
) -> None:
    other = {
        **webdav.endpoint(f"here{below}"),
        "parameters": {"url": webdav.parameters["url"] + "/"},
    }
    answer = function.copy(webdav.endpoint("here"), other)
    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {
            "pointer": "/destination",
            "keyword": "distinct",
            "message": "Must be a different location from the source, and not inside it.",
        }
    ]


def test_a_file_into_the_folder_where_it_is(
    function: Function, webdav: Storage, filled: str
) -> None:
    """Seen only once the destination is known to be a folder."""
    answer = function.copy(webdav.endpoint(f"{filled}/b/c.txt"), webdav.endpoint(f"{filled}/b"))
    assert answer.status_code == 422
    assert "the source itself" in answer.json()["detail"]


def test_the_exit_code_is_the_one_of_the_rclone_command(
    function: Function, webdav: Storage, s3: Storage, rclone: Path, filled: str
) -> None:
    """Compared with what the command really exits with."""
    cases = [
        (webdav.endpoint(filled), s3.endpoint("exit")),
        (webdav.endpoint("nowhere"), s3.endpoint("exit")),
        (webdav.endpoint(filled, **{"pass": "wrong-password"}), s3.endpoint("exit")),
        (s3.endpoint("exit"), webdav.endpoint("y", **{"pass": "wrong-password"})),
        (webdav.endpoint(f"{filled}/a.txt"), s3.endpoint("exit/")),
    ]
    for source, destination in cases:
        answer = function.copy(source, destination).json()
        ours = answer.get("result", answer)["rclone"]["exit_code"]
        environment = {"HOME": "/nonexistent", "RCLONE_RETRIES": "1"}
        for side, endpoint in (("SOURCE", source), ("DESTINATION", destination)):
            environment[f"RCLONE_CONFIG_{side}_TYPE"] = endpoint["type"]
            for key, value in endpoint["parameters"].items():
                if key == "pass":
                    value = subprocess.run(
                        [rclone, "obscure", value], capture_output=True, text=True, check=True
                    ).stdout.strip()
                environment[f"RCLONE_CONFIG_{side}_{key.upper()}"] = str(value)
        command = subprocess.run(
            [rclone, "copy", f"source:{source['path']}", f"destination:{destination['path']}"],
            env=environment,
            capture_output=True,
            check=False,
        )
        assert ours == command.returncode, json.dumps([source["path"], destination["path"]])
