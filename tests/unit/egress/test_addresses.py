"""A host in any spelling is the address that a resolver makes of it."""

from __future__ import annotations

import json
import socket
import threading
from ipaddress import ip_address

import pytest

from efss_transfer.egress.addresses import is_public, resolve
from efss_transfer.model.targets import Target, canonical_host, parse_target
from support.ssrf_spellings import SPELLINGS, TRICKS


@pytest.mark.parametrize("text", SPELLINGS)
@pytest.mark.parametrize(("form", "value"), [("url", "http://{}/"), ("host", "{}")])
def test_no_spelling_of_a_forbidden_address_leads_to_a_public_one(
    form: str, value: str, text: str
) -> None:
    try:
        found = parse_target(form, value.format(text))
    except ValueError:
        return
    assert found is not None
    assert found.address is not None or found.host == "localhost"
    for address in [found.address] if found.address else resolve(found.host):
        assert not is_public(address)


@pytest.mark.parametrize("form", ["url", "authority", "host", "host_port", "sas_url"])
@pytest.mark.parametrize("text", TRICKS)
def test_what_two_programs_may_read_in_two_ways_is_refused_or_not_public(
    form: str, text: str
) -> None:
    value = f"https://{text}/x" if form in ("url", "sas_url") else text
    try:
        found = parse_target(form, value)
    except ValueError:
        return
    assert found is not None
    literal = found.address
    assert literal is not None, f"{text} is taken for a name"
    assert not is_public(literal)


@pytest.mark.parametrize(
    ("form", "text", "host", "port"),
    [
        ("url", "https://Cloud.Example.ORG/dav", "cloud.example.org", 443),
        ("url", "http://cloud.example.org./", "cloud.example.org", 80),
        ("url", "https://cloud.example.org:8443", "cloud.example.org", 8443),
        ("url", "https://münchen.example", "xn--mnchen-3ya.example", 443),
        ("url", "https://[2001:DB8::0001]:8443/", "2001:db8::1", 8443),
        ("authority", "s3.example.org", "s3.example.org", 443),
        ("authority", "s3.example.org:9000", "s3.example.org", 9000),
        ("authority", "http://s3.example.org", "s3.example.org", 80),
        ("host", "sftp.example.org", "sftp.example.org", None),
        ("host", "[2001:db8::1]", "2001:db8::1", None),
        ("host", "2001:db8::1", "2001:db8::1", None),
        ("host_port", "nn.example.org:8020", "nn.example.org", 8020),
        ("sas_url", "https://a.blob.example.org/c?sig=x", "a.blob.example.org", 443),
    ],
)
def test_a_host_has_one_spelling(form: str, text: str, host: str, port: int | None) -> None:
    assert parse_target(form, text) == Target(host, port)


@pytest.mark.parametrize(
    "url",
    [
        "https://user@cloud.example.org/",
        "https://user:secret@cloud.example.org/",
        "https://127.0.0.1@cloud.example.org/",
        "https://cloud.example.org\\@127.0.0.1/",
        "ftp://cloud.example.org/",
        "file:///etc/passwd",
        "unix:///run/docker.sock",
        "https://",
        "https:///dav",
        "https://cloud.example.org:99999/",
        "https://cloud example.org/",
        "https://cloud.example.org\n/",
        "https://" + "a" * 64 + ".example.org/",
        "https://" + "a." * 130 + "org/",
        "https://cloud.example.org\u2100/dav",
        "https://exa\u200bmple.org\u202e/",
    ],
)
def test_what_is_no_url_with_a_host_is_none(url: str) -> None:
    found = None
    try:
        found = parse_target("url", url)
    except ValueError:
        return
    # UTS 46 removes what is not visible; what is left is a name like any other.
    assert found is not None
    assert found.host.isascii()
    assert found.host.replace("-", "").replace(".", "").isalnum()


@pytest.mark.parametrize(
    "account",
    [
        "no JSON",
        "[]",
        '"service_account"',
        "{}",
        '{"type": "authorized_user"}',
        # Such a document names a program to run, or a file to read.
        '{"type": "external_account", "credential_source": {"executable": {"command": "id"}}}',
        '{"type": "service_account", "token_uri": "file:///etc/passwd"}',
        '{"type": "service_account", "token_uri": "https://x@127.0.0.1/"}',
        '{"type": "service_account", "token_uri": 1}',
    ],
)
def test_what_is_no_service_account_is_refused(account: str) -> None:
    with pytest.raises(ValueError):
        parse_target("service_account", account)


def test_a_service_account_leads_to_its_token_uri_or_nowhere_else() -> None:
    account = {"type": "service_account"}
    assert parse_target("service_account", json.dumps(account)) is None
    account["token_uri"] = "http://169.254.169.254/token"
    assert parse_target("service_account", json.dumps(account)) == Target("169.254.169.254", 80)


@pytest.mark.parametrize(
    "text",
    [
        "8.8.8.8",
        "1.1.1.1",
        "100.63.255.255",
        "172.15.0.1",
        "172.32.0.1",
        "2a00:1450::1",
        "64:ff9b::8.8.8.8",
        "::ffff:8.8.8.8",
        "2002:808:808::1",
        "192.0.1.1",
        "198.17.255.255",
    ],
)
def test_what_is_public_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.255.255.255",
        "169.254.0.1",
        "0.0.0.0",
        "0.1.2.3",
        "192.0.0.192",
        "198.19.0.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "203.0.113.1",
        "::",
        "::1",
        "::ffff:10.0.0.1",
        "::8.8.8.8",
        "fc00::1",
        "fdff::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "2001::1",
        "100::1",
        "64:ff9b::10.0.0.1",
        "2002:a00:1::1",
    ],
)
def test_what_is_not_public_is_not(text: str) -> None:
    assert not is_public(ip_address(text))


def test_every_address_of_a_name_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [
        (family, socket.SOCK_STREAM, 6, "", (text, 0))
        for family, text in ((2, "8.8.8.8"), (2, "10.0.0.1"), (10, "::1"))
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    assert resolve("h.example.org") == [ip_address(a) for a in ("8.8.8.8", "10.0.0.1", "::1")]


def test_a_name_that_is_none_has_no_address() -> None:
    assert resolve("no-such-name.invalid") == []


def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        release.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    assert resolve("h.example.org", seconds=0.1) == []
    release.set()


@pytest.mark.parametrize("text", ["fe80::1%eth0", "a%2eb", "", ".", "a b", "a/b", "a@b", "a:b"])
def test_what_is_no_host_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        canonical_host(text)
