"""Servers that cannot do what a copy needs: the limit is named, with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from support import faulty_webdav, nextcloud
from support import storages as servers
from support.faulty_webdav import Faulty, status
from support.outcomes import checked_result
from support.service_process import GATEWAY, Function
from support.storages import Storage, digest

pytestmark = pytest.mark.field_case("I4")

FILES: Final = {"a.txt": b"aaa", "deep/b.txt": b"bb"}
DIGEST: Final = 'Digest realm="dav", nonce="abc", qop="auth", algorithm=SHA-256'
needs_gateway = pytest.mark.skipif(not GATEWAY, reason="rclone has no words for it")


@pytest.fixture
def door() -> Iterator[Faulty]:
    """Another server, to which uploads are redirected."""
    with faulty_webdav.serving() as running:
        yield running


def only_error(answer: Any) -> dict[str, Any]:
    (error,) = checked_result(answer)["errors"]
    return dict(error)


@needs_gateway
@pytest.mark.parametrize(
    "login", [{"user": "alice", "pass": "secret"}, {"bearer_token": "canary-bearer"}, {}]
)
@pytest.mark.parametrize("side", ["source", "destination"])
def test_server_that_wants_digest_authentication(
    side: str, login: dict[str, str], function: Function, s3: Storage, dav: Faulty, folder: str
) -> None:
    s3.fill(f"bucket/{folder}", FILES)
    dav.fail("*", "*", status(401, WWW_Authenticate=DIGEST))
    ends = [dav.endpoint("data", **login), s3.endpoint(folder)]
    answer = function.copy(*(ends if side == "source" else ends[::-1]))
    assert (answer.status_code, answer.json()["code"]) == (422, "authentication_failed")
    error = only_error(answer)
    assert error["side"] == side
    for words in ("Digest authentication only", "app password", "token", "Basic"):
        assert words in answer.json()["detail"]
    assert "check the user and password" not in answer.text


@pytest.mark.parametrize("offered", [f'{DIGEST}, Basic realm="dav"', f"Bearer, {DIGEST}", "Basic"])
def test_server_that_takes_other_authentication_as_well(
    offered: str, function: Function, s3: Storage, dav: Faulty, folder: str
) -> None:
    dav.fail("*", "*", status(401, WWW_Authenticate=offered))
    answer = function.copy(dav.endpoint("data", user="a", **{"pass": "b"}), s3.endpoint(folder))
    assert (answer.status_code, answer.json()["code"]) == (422, "authentication_failed")
    assert "Digest" not in answer.text


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ("502 RNFR is not implemented.", "unsupported"),
        ("500 Unknown command.", "unsupported"),
        ("550 No renaming here.", "unsupported"),
        ("550 Permission denied.", "permission_denied"),
    ],
)
def test_ftp_server_that_cannot_rename(
    reply: str,
    code: str,
    function: Function,
    s3: Storage,
    folder: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pyftpdlib.handlers import FTPHandler

    s3.fill(f"bucket/{folder}", FILES)
    (tmp_path / "to").mkdir()
    monkeypatch.setattr(FTPHandler, "ftp_RNFR", lambda self, _: self.respond(reply))
    with servers.ftp(tmp_path) as storage:
        answer = function.copy(s3.endpoint(folder), storage.endpoint("to", disable_mlsd=False))
        assert storage.hashes("to") == {}
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    error = only_error(answer)
    assert (error["side"], error["retryable"], error["count"]) == ("destination", False, 2)
    assert "ask for the right to rename files" in answer.json()["detail"]


def test_sftp_server_that_cannot_rename(
    function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    import asyncssh

    class Files(asyncssh.SFTPServer):
        def rename(self, oldpath: bytes, newpath: bytes) -> Any:
            raise asyncssh.SFTPOpUnsupported("No renaming.")

        def posix_rename(self, oldpath: bytes, newpath: bytes) -> Any:
            raise asyncssh.SFTPOpUnsupported("No renaming.")

    s3.fill(f"bucket/{folder}", FILES)
    with servers.sftp(tmp_path, Files) as storage:
        answer = function.copy(s3.endpoint(folder), storage.endpoint("to"))
        assert storage.hashes("to") == {}
    assert (answer.status_code, answer.json()["code"]) == (422, "unsupported")
    assert "ask for the right to rename files" in answer.json()["detail"]


@needs_gateway
@pytest.mark.parametrize("code", [307, 308])
@pytest.mark.parametrize("size", [10, 100_000])
def test_upload_is_followed_to_where_the_site_allows(
    code: int, size: int, function: Function, s3: Storage, dav: Faulty, door: Faulty, folder: str
) -> None:
    content = b"x" * size
    s3.fill(f"bucket/{folder}", {"a": content})
    dav.fail("PUT", "/to/*", status(code, Location=f"{door.url}/a?token=canary"))

    def hand_on(path: str, content: bytes, modified: float | None) -> None:
        dav.store("/to/a", content, modified)

    door.receive = hand_on  # type: ignore[method-assign]
    answer = function.copy(s3.endpoint(folder), dav.endpoint("to", user="u", **{"pass": "p"}))
    assert answer.status_code == 200, answer.text
    assert dav.hashes("to") == {"a": digest(content)}
    assert not any("authorization" in request.headers for request in door.seen("PUT"))


@needs_gateway
@pytest.mark.parametrize("code", [301, 307, 308])
@pytest.mark.parametrize("target", ["http://10.1.2.3/door/a?token=canary", "//10.1.2.3/door/a"])
def test_upload_that_is_redirected_to_where_the_site_allows_nothing_names_the_host(
    code: int, target: str, function: Function, s3: Storage, dav: Faulty, folder: str
) -> None:
    s3.fill(f"bucket/{folder}", {"a": b"a"})
    dav.fail("PUT", "/to/*", status(code, Location=target))
    answer = function.copy(s3.endpoint(folder), dav.endpoint("to"))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), answer.text
    assert "10.1.2.3:80" in answer.json()["detail"]
    assert "canary" not in answer.text
    assert only_error(answer)["side"] == "destination"


@needs_gateway
def test_large_upload_that_is_redirected_after_it_began_names_its_target(
    function: Function, s3: Storage, dav: Faulty, door: Faulty, folder: str
) -> None:
    s3.fill(f"bucket/{folder}", {"a": bytes(3 << 20)})
    dav.fail("PUT", "/to/*", status(307, Location=f"{door.url}/to/a"))
    answer = function.copy(s3.endpoint(folder), dav.endpoint("to"))
    assert (answer.status_code, answer.json()["code"]) == (422, "unsupported"), answer.text
    assert f"redirects this request to {door.url}/to/a" in answer.json()["detail"]
    assert dav.hashes("to") == {}


@pytest.mark.parametrize("code", [307, 308])
def test_redirected_upload_is_named_without_the_gateway(
    code: int, direct: Function, s3: Storage, dav: Faulty, folder: str
) -> None:
    s3.fill(f"bucket/{folder}", {"a": b"a"})
    dav.fail("PUT", "/to/*", status(code, Location="http://10.1.2.3/door/a"))
    answer = direct.copy(s3.endpoint(folder), dav.endpoint("to"))
    assert (answer.status_code, answer.json()["code"]) == (422, "unsupported"), answer.text
    assert "uploads are redirected" in answer.json()["detail"]


@needs_gateway
def test_upload_to_a_nextcloud_that_redirects_it_names_its_target(
    function: Function, s3: Storage, folder: str
) -> None:
    s3.fill(f"bucket/{folder}", {"a": b"a"})
    with nextcloud.serving() as cloud:
        cloud.fail("PUT", "*", nextcloud.status(303, Location="https://cloud.example.org/a?x"))
        answer = function.copy(s3.endpoint(folder), cloud.storage().endpoint("to"))
    assert answer.json()["code"] == "unsupported", answer.text
    assert "request to https://cloud.example.org/a, and" in answer.json()["detail"]
