"""The code flow of Open Cloud Mesh: tokens for a share's secret, renewed, signed where wanted."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from support import ocm, service_process
from support.http_servers import misbehaving, reply
from support.ocm import KEY_ID, Handler, Peer, Tokens, new_key
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage

MUST: Final[dict[str, Any]] = {
    "requirements": ["must-exchange-token"],
    "client_id": "cloud.receiver.example",
}
MAY: Final = {"client_id": "cloud.receiver.example"}
CODE = "authorization_code"
MINUTE: Final = int(os.environ.get("OCM_FILES", "320"))


@pytest.fixture
def peer() -> Iterator[Peer]:
    content = {f"d{number % 3}/{number:03}": b"%d" % number * 20_000 for number in range(12)}
    with ocm.sharing(content) as running:
        yield running


def shown(answer: Any, function: Function) -> str:
    """All that a caller and an operator can see."""
    return str(answer.text) + function.log.read_text("utf-8")


@pytest.mark.parametrize(
    ("seconds", "count"),
    [(2.0, 22), pytest.param(20, MINUTE, marks=pytest.mark.slow)],
    ids=["four seconds", "a minute"],
)
def test_signed_exchange_is_repeated_before_each_token_ends(
    seconds: float, count: int, peer: Peer, function: Function, s3: Storage, folder: str
) -> None:
    """Each file takes the server 0.4 s, and two are read at a time."""
    peer.files = {f"{number:03}": b"%3d" % number * 1000 for number in range(count)}
    peer.on_read = lambda handler: time.sleep(0.4 if handler.command == "GET" else 0)
    pem, public = new_key()
    tokens = Tokens(peer, seconds, public)
    source = peer.source(**MUST, signing_key=pem, signing_key_id=KEY_ID)
    began = time.monotonic()
    options = {"transfers": 2, "attempts": 1, "verify": "size"}
    answer = function.copy(source, s3.endpoint(folder), options=options)
    took = time.monotonic() - began
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == peer.hashes
    assert took > 2 * seconds
    assert tokens.unsigned == 0
    form = {"grant_type": CODE, "client_id": MUST["client_id"], "code": peer.secret}
    assert all(it == form for it in tokens.forms)
    # When a third of its life is left, once for all connections.
    assert 3 <= len(tokens.forms) <= 2 * took / (seconds * 2 / 3) + 2
    assert peer.credentials() <= {f"Bearer {it}" for it in tokens.issued}
    text = shown(answer, function)
    key = pem.splitlines()[1]
    assert not [it for it in (peer.secret, key, *tokens.issued) if it in text]


def test_token_that_the_server_ends_early_is_replaced_once_for_all(
    peer: Peer, function: Function, s3: Storage, folder: str
) -> None:
    peer.files = {f"{number:03}": b"x" * 50 + b"%d" % number for number in range(80)}
    tokens = Tokens(peer, 3600)
    reads = itertools.count(1)

    def end(handler: Handler) -> None:
        if handler.command == "GET" and next(reads) == 5:
            tokens.expire()

    peer.on_read = end
    answer = function.copy(peer.source(**MUST), s3.endpoint(folder))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == peer.hashes
    assert len(tokens.forms) == 2


@pytest.mark.parametrize("key", ["none", pytest.param("another", marks=pytest.mark.slow)])
def test_server_that_wants_another_signature_is_the_sources_error(
    key: str, peer: Peer, function: Function, s3: Storage
) -> None:
    tokens = Tokens(peer, 60, new_key()[1])
    more = {"signing_key": new_key()[0], "signing_key_id": KEY_ID} if key == "another" else {}
    answer = function.copy(peer.source(**MUST, **more), s3.endpoint("any"))
    assert (answer.status_code, answer.json()["code"]) == (422, "authentication_failed")
    (error,) = checked_result(answer)["errors"]
    assert error["side"] == "source"
    assert "400 (invalid_client)" in answer.text
    assert ("has no `signing_key`" in answer.text) == (key == "none")
    assert len(tokens.forms) == tokens.unsigned == 1
    assert peer.credentials() == set()


@pytest.mark.parametrize("status", [400, pytest.param(503, marks=pytest.mark.slow)])
def test_exchange_that_fails_gives_way_to_the_secret_where_it_may(
    status: int, peer: Peer, function: Function, s3: Storage, folder: str
) -> None:
    by_secret = peer.accepts
    tokens = Tokens(peer, 60)
    peer.accepts = by_secret
    tokens.answer = lambda _: (status, {"error": "invalid_grant"})
    answer = function.copy(peer.source(**MAY), s3.endpoint(folder))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == peer.hashes
    assert len(tokens.forms) == 1


@pytest.mark.slow
def test_offered_exchange_is_used_and_not_without_a_client(
    peer: Peer, function: Function, s3: Storage, folder: str
) -> None:
    by_secret = peer.accepts
    tokens = Tokens(peer, 60)
    answer = function.copy(peer.source(**MAY), s3.endpoint(folder))
    assert answer.status_code == 200, answer.text
    assert len(tokens.forms) == 1
    assert peer.credentials() == {f"Bearer {tokens.issued[0]}"}
    peer.accepts = by_secret
    answer = function.copy(peer.source(), s3.endpoint(f"{folder}/again"))
    assert answer.status_code == 200, answer.text
    assert len(tokens.forms) == 1


@pytest.mark.slow
def test_token_endpoint_that_is_busy_is_waited_for(
    peer: Peer, function: Function, s3: Storage, folder: str
) -> None:
    tokens = Tokens(peer, 60)
    tokens.answer = lambda number: (503, {}) if number <= 2 else None
    answer = function.copy(peer.source(**MUST), s3.endpoint(folder))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == peer.hashes
    assert len(tokens.forms) == 3


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://canary.example.org/token",
        pytest.param("http://10.1.2.3/token", marks=pytest.mark.slow),
        pytest.param("http://localhost:1/token", marks=pytest.mark.slow),
        pytest.param("no address", marks=pytest.mark.slow),
        pytest.param(None, marks=pytest.mark.slow),
    ],
)
def test_secret_is_exchanged_at_no_other_host(
    endpoint: str | None, peer: Peer, function: Function, s3: Storage
) -> None:
    Tokens(peer, 60)
    peer.discovery["tokenEndPoint"] = endpoint
    answer = function.copy(peer.source(**MUST), s3.endpoint("any"))
    assert (answer.status_code, answer.json()["code"]) == (422, "unsupported")
    (error,) = checked_result(answer)["errors"]
    assert error["side"] == "source"
    assert "tokenEndPoint" in error["samples"][0]["message"]
    assert {it for _, it in peer.presented} == {None}


@pytest.mark.slow
def test_server_that_changes_its_mind_is_the_sources_error(
    peer: Peer, function: Function, s3: Storage, folder: str
) -> None:
    peer.files = {f"{number:03}": b"x" * 50 for number in range(80)}
    tokens = Tokens(peer, 3600)
    tokens.answer = lambda number: (400, {"error": "invalid_grant"}) if number > 1 else None
    reads: list[str] = []

    def end(handler: Handler) -> None:
        reads.extend([handler.path] if handler.command == "GET" else [])
        if len(reads) >= 5:
            tokens.expire()

    peer.on_read = end
    answer = function.copy(peer.source(**MUST), s3.endpoint(folder), options={"attempts": 1})
    assert answer.status_code != 200
    errors = checked_result(answer)["errors"]
    assert {(it["code"], it["side"]) for it in errors} == {("authentication_failed", "source")}
    assert "400 (invalid_grant)" in answer.text
    assert s3.hashes(f"bucket/{folder}").items() <= peer.hashes.items()
    assert peer.secret not in shown(answer, function)


def test_share_that_needs_a_client_is_refused_without_one(
    peer: Peer, function: Function, s3: Storage
) -> None:
    source = peer.source(requirements=["must-exchange-token"])
    answer = function.copy(source, s3.endpoint("any"))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert "client_id" in answer.text
    assert not peer.asked


@pytest.mark.slow
def test_site_holds_the_key_and_the_guard_the_token_endpoint(
    peer: Peer,
    s3: Storage,
    folder: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A storage of the site may go to its own server, and so may its exchange: nowhere else."""
    pem, public = new_key()
    tokens = Tokens(peer, 60, public)
    runtime = tmp_path_factory.mktemp("site")
    key = tmp_path / "key.pem"
    key.write_text(pem)
    given = {"sender": peer.url, "client_id": MUST["client_id"], "signing_key_id": KEY_ID}
    kept = {
        "type": "ocm",
        "parameters": {**given, "signing_key": {"file": str(key)}},
        "caller_parameters": ["uri", "sharedSecret", "requirements"],
        "use": ["source"],
    }
    files = {}
    for name in ("access_key_id", "secret_access_key"):
        (tmp_path / name).write_text(str(s3.parameters[name]))
        files[name] = {"file": str(tmp_path / name)}
    archive = {"type": "s3", "parameters": {**s3.parameters, **files}, "use": ["destination"]}
    site = {"storages": {"shares": kept, "archive": archive}}
    source = {
        "storage": "shares",
        "parameters": {
            "uri": ocm.SHARE,
            "sharedSecret": peer.secret,
            "requirements": ["must-exchange-token"],
        },
        "path": "",
    }
    to = {"storage": "archive", "path": f"bucket/{folder}"}
    seen: list[str] = []

    def inside(handler: Handler) -> None:
        seen.append(handler.path)
        reply(handler, 200)

    with service_process.function(runtime, WEBDAV_GATEWAY="1", site=site) as strict:
        answer = strict.copy(source, to)
        assert answer.status_code == 200, answer.text
        assert s3.hashes(f"bucket/{folder}") == peer.hashes
        assert (tokens.unsigned, len(tokens.forms)) == (0, 1)
        with misbehaving(inside) as other:
            peer.discovery["tokenEndPoint"] = f"{other}/token"
            answer = strict.copy(source, to)
        assert answer.status_code != 200
        (error,) = checked_result(answer)["errors"]
        assert error["side"] == "source"
        assert not seen
        assert peer.secret not in shown(answer, strict)
        assert pem.splitlines()[1] not in shown(answer, strict)
