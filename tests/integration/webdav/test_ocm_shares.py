"""Shares of Open Cloud Mesh as sources: discovery, the share's address, and its secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from support import ocm
from support.doc_blocks import DOCS, RECEIVED_SHARE, blocks
from support.http_servers import misbehaving, reply
from support.ocm import OLD_ROOT, ROOT, SHARE, Handler, Peer, discovery
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage

PAGE = DOCS / "how-to" / "open-cloud-mesh.md"
FILES = {"a.csv": b"1,2\n" * 500, "in/b.bin": bytes(range(256)) * 40, "in/deep/c": b""}


@pytest.fixture
def peer() -> Iterator[Peer]:
    with ocm.sharing(dict(FILES)) as running:
        yield running


def refused(answer: requests.Response, code: str, status: int = 422) -> str:
    """The text of the only error, which is the source's and has this code."""
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    (error,) = checked_result(answer)["errors"]
    assert (error["code"], error["side"]) == (code, "source")
    return str(error["samples"][0]["message"])


def test_share_is_copied_by_its_secret_as_a_token(
    peer: Peer, function: Function, s3: Storage, folder: str
) -> None:
    whole = peer.source(
        requirements=[], accessTypes=["datatx"], permissions=["read", "share"], size=12_240
    )
    answer = function.copy(whole, s3.endpoint(folder), options={"verify": "size"})
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == peer.hashes
    assert peer.credentials() == {f"Bearer {peer.secret}"}
    assert peer.secret not in answer.text + function.log.read_text("utf-8")
    assert {it for path, it in peer.presented if path.startswith("/.well-known")} == {None}


def test_folder_and_file_of_a_share_are_copied(
    peer: Peer, function: Function, s3: Storage, folder: str
) -> None:
    for path in ("in", "a.csv"):
        answer = function.copy(peer.source(path), s3.endpoint(f"{folder}/"))
        assert answer.status_code == 200, answer.text
    found = s3.hashes(f"bucket/{folder}")
    assert found == {path.removeprefix("in/"): it for path, it in peer.hashes.items()}


@pytest.mark.parametrize("uri", [None, "absolute"])
def test_share_of_an_older_server_is_copied_by_its_secret_as_a_user(
    uri: str | None, peer: Peer, function: Function, s3: Storage, folder: str
) -> None:
    peer.old_way()
    source = peer.source(uri=uri and peer.url + OLD_ROOT)
    answer = function.copy(source, s3.endpoint(folder))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == peer.hashes
    assert len(peer.credentials()) == 1
    assert peer.secret not in answer.text + function.log.read_text("utf-8")


@pytest.mark.parametrize("is_old", [False, True])
def test_ten_lines_of_the_documentation_copy_a_received_share(
    is_old: bool, peer: Peer, function: Function, s3: Storage, folder: str
) -> None:
    webdav = {"uri": SHARE, "sharedSecret": peer.secret, "permissions": ["read"], "more": 1}
    share: dict[str, Any] = {"sender": f"alice@{peer.url}", "shareType": "user"}
    share["protocol"] = {"name": "multi", "webdav": webdav}
    if is_old:
        peer.old_way()
        share["protocol"] = {"name": "webdav", "options": {"sharedSecret": peer.secret}}
    (shown,) = [it for it in blocks(PAGE) if it.marks.get("example") == RECEIVED_SHARE]
    names: dict[str, Any] = {"requests": requests, "SERVICE": function.url, "TOKEN": "any"}
    exec(shown.content, names)  # noqa: S102 - our own page
    names["fetch"](share, s3.endpoint(folder))
    assert s3.hashes(f"bucket/{folder}") == peer.hashes


@pytest.mark.slow
def test_share_that_wants_the_other_way_is_tried_by_it(
    peer: Peer, function: Function, s3: Storage, folder: str
) -> None:
    old = Peer({}, secret=peer.secret)
    old.old_way()
    peer.accepts = old.accepts
    answer = function.copy(peer.source(), s3.endpoint(folder))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == peer.hashes
    by_token = [it for it in peer.presented if it[1] == f"Bearer {peer.secret}"]
    assert len(by_token) == 1


def test_share_that_is_one_file_is_copied(
    peer: Peer, function: Function, s3: Storage, folder: str
) -> None:
    peer.files = {"": b"content of the file"}
    answer = function.copy(peer.source(), s3.endpoint(f"{folder}/"))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == {SHARE: peer.hashes[""]}


def test_share_is_listed_and_checked(peer: Peer, function: Function) -> None:
    listing = function.post({"endpoint": peer.source()}, "/list").json()
    assert sorted(it["name"] for it in listing["entries"]) == ["a.csv", "in"]
    checked = function.post({"endpoint": peer.source()}, "/check")
    assert checked.status_code == 200, checked.text
    peer.accepts = lambda _: False
    for path in ("/list", "/check"):
        answer = function.post({"endpoint": peer.source()}, path)
        assert "authentication_failed" in answer.text


def test_share_with_multi_factor_authentication_is_refused_unasked(
    peer: Peer, function: Function, s3: Storage
) -> None:
    source = peer.source(requirements=["must-use-mfa"])
    text = refused(function.copy(source, s3.endpoint("any")), "unsupported")
    assert "must-use-mfa" in text
    assert not peer.asked


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"permissions": ["write"]}, "permission_denied"),
        ({"requirements": ["must-do-what-nobody-knows"]}, "unsupported"),
    ],
)
def test_share_that_may_not_be_read_is_refused_unasked(
    changes: dict[str, Any], code: str, peer: Peer, function: Function, s3: Storage
) -> None:
    refused(function.copy(peer.source(**changes), s3.endpoint("any")), code)
    assert not peer.asked


def test_secret_that_the_server_refuses_is_the_sources_error(
    peer: Peer, function: Function, s3: Storage
) -> None:
    peer.accepts = lambda _: False
    text = refused(function.copy(peer.source(), s3.endpoint("any")), "authentication_failed")
    assert "withdrawn" in text
    # Each way once, and not again for each file.
    assert len([it for it in peer.presented if it[1] is not None]) == 2


def test_share_that_ends_during_the_copy_is_the_sources_error(
    peer: Peer, function: Function, s3: Storage, folder: str
) -> None:
    peer.files = {f"{number:02}": b"x" * 1000 for number in range(40)}
    reads: list[str] = []

    def end(handler: Handler) -> None:
        reads.extend([handler.path] if handler.command == "GET" else [])
        if len(reads) >= 10:
            peer.accepts = lambda _: False

    peer.on_read = end
    answer = function.copy(peer.source(), s3.endpoint(folder), options={"attempts": 1})
    assert answer.status_code != 200
    errors = checked_result(answer)["errors"]
    assert {(it["code"], it["side"]) for it in errors} == {("authentication_failed", "source")}
    there = s3.hashes(f"bucket/{folder}")
    assert there.items() <= peer.hashes.items()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lie", "code", "status", "told"),
    [
        ({"resourceTypes": []}, "unsupported", 422, "no WebDAV path"),
        ({"resourceTypes": [7, {"protocols": [1]}]}, "unsupported", 422, "no WebDAV path"),
        ({"enabled": False}, "unsupported", 422, "disabled"),
    ],
)
def test_discovery_without_a_use_is_named(
    lie: dict[str, Any],
    code: str,
    status: int,
    told: str,
    peer: Peer,
    function: Function,
    s3: Storage,
) -> None:
    peer.discovery |= lie
    answer = function.copy(peer.source(), s3.endpoint("any"))
    assert told in refused(answer, code, status)
    assert {it for _, it in peer.presented} == {None}


@pytest.mark.parametrize(
    "root", ["https://canary.example.org/dav/", "//canary.example.org/dav/", "/dav/../admin/"]
)
def test_secret_goes_to_no_host_that_discovery_alone_names(
    root: str, peer: Peer, function: Function, s3: Storage
) -> None:
    peer.discovery = discovery(peer.url, root)
    answer = function.copy(peer.source(), s3.endpoint("any"))
    refused(answer, "unsupported")
    assert {it for _, it in peer.presented} == {None}


@pytest.mark.slow
@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"[" * 100_000, b"[]", b""])
def test_page_in_place_of_discovery_is_named(
    body: bytes, peer: Peer, function: Function, s3: Storage
) -> None:
    for path in ("/.well-known/ocm", "/ocm-provider"):
        peer.paths[path] = lambda handler: reply(handler, 200, body)
    answer = function.copy(peer.source(), s3.endpoint("any"))
    assert "no JSON object" in refused(answer, "storage_error", 502)


def test_server_that_redirects_a_share_elsewhere_does_not_get_its_secret_there(
    peer: Peer, function: Function, s3: Storage, folder: str
) -> None:
    seen: list[str | None] = []

    def elsewhere(handler: Handler) -> None:
        seen.append(handler.headers.get("Authorization"))
        reply(handler, 404)

    with misbehaving(elsewhere) as other:

        def redirect(handler: Handler) -> None:
            handler.send_response(307)
            handler.send_header("Location", other + handler.path)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        for path in (f"{ROOT}{SHARE}", f"{ROOT}{SHARE}/"):
            peer.paths[path] = redirect
        answer = function.copy(peer.source(), s3.endpoint(folder))
    assert answer.status_code != 200
    assert checked_result(answer)["errors"][0]["side"] == "source"
    assert set(seen) <= {None}


@pytest.mark.slow
def test_sender_that_does_not_answer_is_unreachable(function: Function, s3: Storage) -> None:
    source = Peer({}, url="http://127.0.0.1:1").source()
    text = refused(function.copy(source, s3.endpoint("any")), "storage_unreachable", 502)
    assert "127.0.0.1:1" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sender", "uri"])
def test_hosts_that_the_site_denies_are_refused(
    name: str, peer: Peer, function: Function, s3: Storage
) -> None:
    value = {"sender": "bob@10.1.2.3", "uri": "https://10.1.2.3/dav/"}[name]
    answer = function.copy(peer.source(**{name: value}), s3.endpoint("any"))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert [it["pointer"] for it in answer.json()["errors"]] == [f"/source/parameters/{name}"]
    assert not peer.asked


@pytest.mark.slow
def test_discovery_that_redirects_into_the_network_is_refused(
    peer: Peer, function: Function, s3: Storage
) -> None:
    def inside(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", "http://10.1.2.3/.well-known/ocm")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    peer.paths["/.well-known/ocm"] = inside
    answer = function.copy(peer.source(), s3.endpoint("any"))
    assert answer.status_code != 200
    (error,) = checked_result(answer)["errors"]
    assert error["side"] == "source"


def test_share_cannot_be_a_destination(peer: Peer, function: Function, s3: Storage) -> None:
    answer = function.copy(s3.endpoint("any"), peer.source())
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert [it["pointer"] for it in answer.json()["errors"]] == ["/destination/type"]


@pytest.mark.slow
def test_gateway_that_is_switched_off_opens_no_share(
    peer: Peer, direct: Function, s3: Storage
) -> None:
    answer = direct.copy(peer.source(), s3.endpoint("any"))
    assert answer.status_code == 400, answer.text
    assert [it["pointer"] for it in answer.json()["errors"]] == ["/source/type"]
    assert not peer.asked
