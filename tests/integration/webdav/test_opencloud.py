"""Transfers to a stand-in of OpenCloud through the gateway; contents compared by hash."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import requests

from efss_transfer.webdav import memory
from efss_transfer.webdav.writes.uploads import SMALL
from support import opencloud, sizeless
from support.opencloud import NEVER, OpenCloud
from support.service_process import Function
from support.stand_in.faults import Gathering, most_at_once
from support.stand_in.site import Cost
from support.storages import Storage, digest, hash_tree
from support.webdav_gateway import Running, gateway, run

TIME = 1_600_000_000


@pytest.fixture
def running(ocis: OpenCloud) -> Iterator[Running]:
    parameters: Any = ocis.storage(by="app").parameters
    url, user, password = parameters["url"], parameters["user"], parameters["pass"]
    with gateway(url, user=user, password=password, patience=20.0) as made:
        yield made


def ask(running: Running, method: str, path: str, body: bytes = b"", **headers: str) -> int:
    told = {name.replace("_", "-"): text for name, text in headers.items()}
    url = f"{running.url}/{path}"
    return requests.request(method, url, data=body, headers=told, timeout=60).status_code


def listed(running: Running, folder: str = "") -> None:
    assert ask(running, "PROPFIND", f"{folder}/".lstrip("/"), Depth="1") == 207


def test_file_is_replaced_any_number_of_times_with_one_time(
    ocis: OpenCloud, running: Running, rclone: Path, tmp_path: Path
) -> None:
    there = running.connection_string("x")
    for number in range(5):
        content = b"%d" % number * (number + 1)
        (tmp_path / "from").mkdir(exist_ok=True)
        (tmp_path / "from" / "f").write_bytes(content)
        os.utime(tmp_path / "from" / "f", (TIME, TIME))
        done = run(rclone, "copy", str(tmp_path / "from"), there)
        assert done.returncode == 0, done.stderr
        assert ocis.hashes("x") == {"f": digest(content)}
        # The time that a client sees is still the source's.
        assert "2020-09-13" in run(rclone, "lsl", there).stdout
        again = run(rclone, "copy", str(tmp_path / "from"), there)
        assert "There was nothing to transfer" in again.stderr
    assert set(ocis.statuses("PUT")) == {201, 204}
    assert not running.gateway.record.warnings


def test_uploads_are_held_against_the_hash_of_their_source(
    ocis: OpenCloud, running: Running, rclone: Path, tmp_path: Path
) -> None:
    for name, size in (("small", 100), ("large", 2_000_000)):
        (tmp_path / name).write_bytes(os.urandom(size))
    done = run(rclone, "copy", str(tmp_path), running.connection_string("x"))
    assert done.returncode == 0, done.stderr
    assert ocis.hashes("x") == hash_tree(tmp_path)
    for name in ("small", "large"):
        md5 = hashlib.md5((tmp_path / name).read_bytes(), usedforsecurity=False).hexdigest()
        assert f"{name}: md5 = {md5} OK" in done.stderr
    assert "hash empty" not in done.stderr
    # The small one by what the gateway has sent, and the server verified; the large one asked for.
    asked = [one.path.rpartition("/")[2] for one in ocis.seen("PROPFIND")]
    assert ("small" in asked, "large" in asked) == (False, True)


def test_new_time_of_an_unchanged_file_is_kept(
    ocis: OpenCloud, running: Running, rclone: Path, tmp_path: Path
) -> None:
    there = running.connection_string("x")
    (tmp_path / "f").write_bytes(b"content")
    for seconds, shown in ((TIME, "2020-09-13"), (TIME + 86_400, "2020-09-14")):
        os.utime(tmp_path / "f", (seconds, seconds))
        done = run(rclone, "copy", str(tmp_path), there)
        assert done.returncode == 0, done.stderr
        running.gateway.forget()
        assert shown in run(rclone, "lsl", there).stdout
    assert ocis.hashes("x") == hash_tree(tmp_path)
    # The server says that it has set the time, and has not.
    assert ocis.statuses("PROPPATCH") == {207: 1}


def test_file_that_the_server_can_no_longer_replace_is_explained(
    ocis: OpenCloud, running: Running
) -> None:
    headers = {"X-OC-Mtime": str(TIME), "Authorization": f"Bearer {ocis.token()}"}
    for number in range(3):
        url = f"{ocis.url}/remote.php/dav/files/alice/f"
        requests.put(url, data=b"%d" % number, headers=headers, timeout=60)
    assert ask(running, "PUT", "f", b"new", X_OC_Mtime=str(TIME)) == 500
    assert "delete the old file" in running.gateway.record.failures["f"].words.message
    assert ocis.hashes() == {"f": digest(b"1")}


def test_new_files_in_a_folder_that_was_just_listed_cost_no_look(
    ocis: OpenCloud, running: Running
) -> None:
    ocis.write("x/old", b"old")
    listed(running, "x")
    ocis.heal()
    for number in range(5):
        assert ask(running, "PUT", f"x/f{number}", b"new") == 201
    assert not ocis.seen("PROPFIND")
    assert len(ocis.hashes("x")) == 6


def test_new_file_is_looked_for_when_the_listing_is_old(
    ocis: OpenCloud, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    ocis.write("x/old", b"old")
    listed(running, "x")
    ocis.heal()
    monkeypatch.setattr(memory, "_JUST_SECONDS", 0.0)
    ocis.write("x/theirs", b"theirs")
    assert ask(running, "PUT", "x/new", b"new") == 201
    assert ask(running, "PUT", "x/theirs", b"ours") == 204
    # A look at each, and a listing to see that the second is no other file of the source.
    assert len(ocis.seen("PROPFIND")) == 3
    # It knew what it replaced.
    assert "If-Match" in ocis.seen("PUT", "*/theirs")[0].headers
    assert not running.gateway.record.warnings
    assert ocis.hashes("x") == {
        name: digest(content)
        for name, content in (("old", b"old"), ("new", b"new"), ("theirs", b"ours"))
    }


def test_file_that_appears_between_look_and_upload_is_told(
    ocis: OpenCloud, running: Running
) -> None:
    listed(running)
    ocis.write("f", b"theirs")
    assert ask(running, "PUT", "f", b"ours") == 204
    warned = running.gateway.record.warnings["preconditions_ignored"]
    assert (warned.count, [path for path, _ in warned.samples]) == (1, ["f"])


@pytest.mark.parametrize("size", [100, 1_000_000])
def test_file_that_somebody_else_changed_is_looked_at_again(
    size: int, ocis: OpenCloud, running: Running
) -> None:
    ocis.write("f", b"old")
    listed(running)
    ocis.write("f", b"theirs")
    content = os.urandom(size)
    if size > SMALL:
        # What was sent already cannot be sent again by the gateway, but by rclone.
        assert ask(running, "PUT", "f", content) == 503
    assert ask(running, "PUT", "f", content) == 204
    assert ocis.hashes() == {"f": digest(content)}
    # The wrong If-Match is 409 there, and not 412.
    assert ocis.statuses("PUT") == {409: 1, 204: 1}


def test_folder_that_was_removed_is_made_again(
    ocis: OpenCloud, running: Running, rclone: Path, tmp_path: Path
) -> None:
    assert ask(running, "MKCOL", "x/y/") == 201
    ocis.user().space.root.remove("x")
    assert ask(running, "PUT", "x/y/f", b"1") == 409
    (tmp_path / "f").write_bytes(b"1")
    done = run(rclone, "copy", str(tmp_path), running.connection_string("x/y"))
    assert done.returncode == 0, done.stderr
    assert ocis.hashes("x/y") == hash_tree(tmp_path)


@pytest.mark.parametrize("method", ["GET", "DELETE", "COPY", "MOVE", "PUT"])
def test_file_in_post_processing_is_waited_for(
    method: str, ocis: OpenCloud, running: Running
) -> None:
    waits = method in ("GET", "DELETE", "COPY")
    ocis.write("f", b"content")
    ocis.process("f", 1.0 if waits else NEVER)
    begun = time.monotonic()
    to = {"Destination": f"{running.url}/g", "Overwrite": "T"}
    headers = to if method in ("COPY", "MOVE") else {}
    status = ask(running, method, "f", b"new" if method == "PUT" else b"", **headers)
    assert status < 300
    assert not waits or time.monotonic() - begun > 0.8
    expected = {"GET": {"f": b"content"}, "DELETE": {}, "MOVE": {"g": b"content"}}
    expected |= {"COPY": {"f": b"content", "g": b"content"}, "PUT": {"f": b"new"}}
    assert ocis.hashes() == {name: digest(text) for name, text in expected[method].items()}
    assert not running.gateway.record.failures


def test_body_of_unknown_length_is_sent_with_its_length(ocis: OpenCloud, running: Running) -> None:
    content = os.urandom(3_000_000)
    pieces = (content[start : start + 100_000] for start in range(0, len(content), 100_000))
    assert requests.put(f"{running.url}/f", data=pieces, timeout=60).status_code == 201
    assert ocis.hashes() == {"f": digest(content)}


def test_large_body_of_unknown_length_is_refused_before_it_is_sent(
    ocis: OpenCloud, running: Running
) -> None:
    ocis.write("f", b"old")
    sent = iter([b"x" * 1_000_000] * 20)
    answer = requests.put(f"{running.url}/f", data=sent, timeout=60)
    assert answer.status_code == 501
    assert "size is unknown" in answer.text
    assert not ocis.seen("PUT")
    assert ocis.hashes() == {"f": digest(b"old")}


@pytest.mark.parametrize(("by", "most"), [("app", 4), ("password", 4), ("bearer", 16)])
def test_only_four_requests_at_a_time_make_opencloud_hash_a_password(
    by: Literal["app", "password", "bearer"], most: int, function: Function, s3: Storage
) -> None:
    expected = s3.fill(f"bucket/hashed-{by}", {f"f{number}": b"x" for number in range(32)})
    with opencloud.serving(cost=Cost(work={"PUT": 0.2})) as ocis:
        ocis.on_request = Gathering("PUT", min(most, 5))
        end = ocis.storage(by=by, vendor="other").endpoint("to")
        answer = function.copy(s3.endpoint(f"hashed-{by}"), end, options={"transfers": 16})
        assert answer.status_code == 200, answer.text
        assert ocis.hashes("to") == expected
        puts = ocis.seen("PUT")
    at_once = most_at_once(puts)
    assert 4 <= at_once <= most
    assert most == 4 or at_once > 4


@pytest.mark.parametrize(("size", "code"), [(3_000_000, None), (9_500_000, "unsupported")])
def test_source_that_tells_no_size_is_copied_to_opencloud_or_refused_in_words(
    size: int, code: str | None, ocis: OpenCloud, function: Function
) -> None:
    content = os.urandom(size)
    end = ocis.storage(vendor="other").endpoint("to")
    with sizeless.serving(content) as source:
        answer = function.copy(source, end, options={"attempts": 1})
    if code is None:
        assert answer.status_code == 200, answer.text
        assert ocis.hashes("to") == {"f.bin": digest(content)}
    else:
        (error,) = answer.json()["result"]["errors"]
        assert (error["code"], error["side"]) == (code, "destination")
        assert "size is unknown" in answer.text
        assert not ocis.hashes("to")
