"""Which addresses are public, and how names are resolved."""

from __future__ import annotations

import socket
import threading
from ipaddress import ip_address

import pytest

from efss_transfer.egress.addresses import is_public, resolve
from efss_transfer.model.targets import parse_target
from support.ssrf_spellings import SPELLINGS, TRICKS


@pytest.mark.parametrize(("form", "value"), [("url", "http://{}/"), ("host", "{}")])
def test_no_spelling_of_a_private_address_is_public(form: str, value: str) -> None:
    accepted = []
    for text in SPELLINGS:
        try:
            found = parse_target(form, value.format(text))
        except ValueError:
            continue
        assert found is not None, text
        assert found.address is not None or found.host == "localhost", text
        accepted += [found.address] if found.address else resolve(found.host)
    assert accepted
    assert [address for address in accepted if is_public(address)] == []


@pytest.mark.parametrize("form", ["url", "authority", "host", "host_port", "sas_url"])
def test_ambiguous_host_is_refused_or_not_public(form: str) -> None:
    for text in TRICKS:
        try:
            found = parse_target(form, f"https://{text}/x" if form in ("url", "sas_url") else text)
        except ValueError:
            continue
        assert found is not None, text
        assert found.address is not None, f"{text} is parsed as a name"
        assert not is_public(found.address), text


def test_public_addresses_are_public() -> None:
    texts = [
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
    ]
    assert [text for text in texts if not is_public(ip_address(text))] == []


def test_special_purpose_addresses_are_not_public() -> None:
    texts = [
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
    ]
    assert [text for text in texts if is_public(ip_address(text))] == []


def test_all_addresses_of_a_name_are_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [
        (family, socket.SOCK_STREAM, 6, "", (text, 0))
        for family, text in ((2, "8.8.8.8"), (2, "10.0.0.1"), (10, "::1"))
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    assert resolve("h.example.org") == [ip_address(a) for a in ("8.8.8.8", "10.0.0.1", "::1")]


def test_unknown_name_has_no_address() -> None:
    assert resolve("no-such-name.invalid") == []


def test_hanging_resolver_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        release.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    assert resolve("h.example.org", seconds=0.1) == []
    release.set()
