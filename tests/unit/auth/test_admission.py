"""Who is let in: where nobody is asked, and where callers have names."""

from __future__ import annotations

import hashlib

import pytest

from efss_transfer.auth.admission import Admission
from efss_transfer.model.errors import Forbidden, Unauthenticated
from efss_transfer.site.site_file import Caller, Site

TOKENS = {
    "mode": "tokens",
    "tokens": [
        {"caller": name, "sha256": hashlib.sha256(f"token-of-{name}".encode()).hexdigest()}
        for name in ("alice", "bob")
    ],
}


@pytest.mark.parametrize("remote", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize(
    "origin", [None, "http://localhost:8080", "http://127.0.0.1", "http://[::1]:8080"]
)
def test_without_authentication_local_callers_are_accepted(remote: str, origin: str | None) -> None:
    name, caller = Admission(Site()).admit(None, remote, origin)
    assert name == "anonymous"
    assert caller == Caller()


@pytest.mark.parametrize(
    "remote",
    [None, "", "10.0.0.1", "8.8.8.8", "::", "0.0.0.0", "fe80::1", "unix:", "localhost.evil.com"],
)
def test_without_authentication_remote_callers_are_refused(remote: str | None) -> None:
    with pytest.raises(Forbidden):
        Admission(Site()).admit("Bearer x", remote, None)


def test_behind_a_proxy_on_this_machine_nobody_is_but_whom_the_platform_let_in() -> None:
    proxied = Admission(Site(), behind_proxy=True)
    with pytest.raises(Forbidden):
        proxied.admit(None, "127.0.0.1", None)
    proxied.admit(None, None, None, platform_authenticated=True)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example.com",
        "http://127.0.0.1.evil.example.com",
        "http://10.0.0.1",
        "https://localhost.evil.example.com",
        "//",
        "http://",
        "http://127.0.0.1@evil.example.com",
        "http://[::1",
    ],
)
def test_without_authentication_pages_of_other_hosts_are_refused(origin: str) -> None:
    with pytest.raises(Forbidden):
        Admission(Site()).admit(None, "127.0.0.1", origin)


def test_with_tokens_a_caller_may_be_anywhere() -> None:
    door = Admission(Site(authentication=TOKENS))
    assert door.admit("Bearer token-of-alice", "8.8.8.8", "https://x.example.org")[0] == "alice"
    for header in (None, "Bearer token-of-carol"):
        with pytest.raises(Unauthenticated):
            door.admit(header, "127.0.0.1", None)


def test_a_caller_whom_the_site_does_not_name_stays_out() -> None:
    named = {"alice": Caller(types=frozenset())}
    door = Admission(Site(authentication=TOKENS, callers=named))
    assert door.admit("Bearer token-of-alice", None, None) == ("alice", named["alice"])
    with pytest.raises(Forbidden):
        door.admit("Bearer token-of-bob", None, None)
    rest = {"*": Caller(storages=frozenset())}
    door = Admission(Site(authentication=TOKENS, callers=rest))
    assert door.admit("Bearer token-of-bob", None, None) == ("bob", rest["*"])


@pytest.mark.parametrize("mode", ["none", "tokens"])
def test_that_nobody_is_asked_is_said(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    Admission(Site(authentication=TOKENS) if mode == "tokens" else Site())
    assert ("Authentication is off" in caplog.text) == (mode == "none")
