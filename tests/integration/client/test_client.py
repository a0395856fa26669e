"""The Python client against the function, and real storages behind it."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from efss_transfer.client import errors
from efss_transfer.client.client import Client
from efss_transfer.client.resume import Resumed
from efss_transfer.model.events import FileDone, Finished, Progress, Started
from efss_transfer.model.result import FileState, State
from support import http_servers, service_process
from support import storages as servers
from support.doc_blocks import EXAMPLES, REFERENCE, blocks
from support.service_process import Function
from support.storages import Storage


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def name() -> str:
    return uuid.uuid4().hex


def test_a_transfer(function: Function, webdav: Storage, s3: Storage, name: str) -> None:
    hashes = webdav.fill(name, {"a.txt": b"a", "b/c.bin": os.urandom(100_000)})
    request = {"source": webdav.endpoint(name), "destination": s3.endpoint(name), "id": "run-42"}
    with Client(function.url) as client:
        result = client.transfer(request)
        assert (result.state, result.id, result.files) == (State.SUCCEEDED, "run-42", ())
        assert (result.totals.transferred, result.totals.transferred_bytes) == (2, 100_001)
        again = client.transfer({**request, "options": {"report": "all"}})
        assert again.totals.skipped == 2
        assert again.files is not None
        assert {(file.path, file.state) for file in again.files} == {
            ("a.txt", FileState.SKIPPED),
            ("b/c.bin", FileState.SKIPPED),
        }
        assert client.transfer({**request, "options": {"report": "summary"}}).files is None
    assert s3.hashes(f"bucket/{name}") == hashes


def test_a_stream(function: Function, webdav: Storage, s3: Storage, name: str) -> None:
    webdav.fill(name, {f"{number}": bytes(1000) for number in range(30)})
    request = {"source": webdav.endpoint(name), "destination": s3.endpoint(name)}
    with Client(function.url) as client, client.stream(request) as events:
        told = list(events)
    assert isinstance(told[0], Started)
    assert isinstance(told[-1], Finished)
    assert told[-1].result.state is State.SUCCEEDED
    files = [event.outcome.path for event in told if isinstance(event, FileDone)]
    assert sorted(files) == sorted(map(str, range(30)))


def test_who_closes_the_stream_cancels_the_copy(function: Function, s3: Storage, name: str) -> None:
    with http_servers.slow_source(10_000_000, 100_000) as slow, Client(function.url) as client:
        request = {"source": slow.endpoint("data"), "destination": s3.endpoint(name)}
        with client.stream(request) as events:
            for event in events:
                if isinstance(event, Progress) and event.current_bytes:
                    break
        function.wait_clean(10)
    assert s3.hashes(f"bucket/{name}") == {}


def test_errors_are_exceptions_by_their_code(
    function: Function, webdav: Storage, s3: Storage, name: str
) -> None:
    webdav.fill(name, {"a": b"a"})
    here, there = webdav.endpoint(name), s3.endpoint(name)
    with Client(function.url, retries=0) as client:
        with pytest.raises(errors.SourceNotFound) as nothing:
            client.transfer({"source": webdav.endpoint("nowhere"), "destination": there})
        assert nothing.value.status == 422
        assert nothing.value.result is not None
        with pytest.raises(errors.AuthenticationFailed):
            client.transfer(
                {"source": webdav.endpoint(name, **{"pass": "x"}), "destination": there}
            )
        with pytest.raises(errors.InvalidRequest) as refused:
            client.transfer({"source": here, "destination": there, "options": {"attempts": 99}})
        assert [it.pointer for it in refused.value.violations] == ["/options/attempts"]
        assert "/options/attempts: Must be at most 10." in str(refused.value)
        with pytest.raises(errors.Forbidden):
            client.transfer({"source": here, "destination": {"storage": "none", "path": "x"}})
    with Client(f"{function.url}/elsewhere") as client, pytest.raises(errors.NotFound):
        client.transfer({"source": here, "destination": there})


def test_a_token_is_asked_for(tmp_path: Path, webdav: Storage, s3: Storage, name: str) -> None:
    webdav.fill(name, {"a": b"a"})
    request = {"source": webdav.endpoint(name), "destination": s3.endpoint(name)}
    token = servers.password()
    mode = {
        "mode": "tokens",
        "tokens": [{"caller": "alice", "sha256": servers.digest(token.encode())}],
    }
    (tmp_path / "run").mkdir()
    with service_process.function(
        tmp_path / "run", site={**service_process.LOOPBACK, "authentication": mode}
    ) as function:
        with Client(function.url) as client, pytest.raises(errors.Unauthenticated):
            client.transfer(request)
        with (
            Client(function.url, token="wrong") as client,
            pytest.raises(errors.Unauthenticated),
        ):
            client.transfer(request)
        with Client(function.url, token=token) as client:
            assert client.transfer(request).state is State.SUCCEEDED


@pytest.mark.slow
def test_a_copy_that_takes_several_invocations(
    function: Function, webdav: Storage, s3: Storage, name: str
) -> None:
    files = {f"{number:02}": os.urandom(250_000) for number in range(20)}
    hashes = webdav.fill(name, files)
    request = {
        "source": webdav.endpoint(name),
        "destination": s3.endpoint(name),
        "options": {"bandwidth_limit": 1_000_000, "deadline_seconds": 3, "report": "all"},
    }
    told: list[Resumed] = []
    with Client(function.url) as client:
        with pytest.raises(errors.Incomplete) as short:
            client.transfer(request)
        assert short.value.result is not None
        first = short.value.result.totals.transferred
        assert 0 < first < 20
        result = client.complete(request, on_resume=told.append)
    assert s3.hashes(f"bucket/{name}") == hashes
    assert told
    assert (result.totals.transferred, result.totals.skipped) == (20 - first, first)
    assert result.files is not None
    assert sorted(file.path for file in result.files) == sorted(files)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_of_its_page(
    function: Function,
    webdav: Storage,
    s3: Storage,
    name: str,
    example: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    webdav.fill(name, {"a": b"a", "b": b"b"})
    request = {"source": webdav.endpoint(name), "destination": s3.endpoint(name)}
    (shown,) = (
        block.content
        for block in blocks(REFERENCE / "python-client.md")
        if block.marks.get("example") == example
    )
    given = {"Client": Client, "url": function.url, "token": "a-token", "request": request}
    exec(compile(shown, example, "exec"), given)  # noqa: S102 - what the page shows
    last = {"client.py": "2 files copied", "stream.py": "succeeded"}[example]
    assert capsys.readouterr().out.splitlines()[-1] == last
    assert len(s3.hashes(f"bucket/{name}")) == 2
