"""Hosts and ports are parsed to one canonical form, or refused."""

from __future__ import annotations

import json

import pytest

from efss_transfer.model.targets import Target, canonical_host, parse_target


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
def test_host_is_parsed_to_its_canonical_form(
    form: str, text: str, host: str, port: int | None
) -> None:
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
def test_invalid_url_is_refused(url: str) -> None:
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
def test_invalid_service_account_is_refused(account: str) -> None:
    with pytest.raises(ValueError):
        parse_target("service_account", account)


def test_service_account_leads_to_its_token_uri_only() -> None:
    account = {"type": "service_account"}
    assert parse_target("service_account", json.dumps(account)) is None
    account["token_uri"] = "http://169.254.169.254/token"
    assert parse_target("service_account", json.dumps(account)) == Target("169.254.169.254", 80)


@pytest.mark.parametrize("text", ["fe80::1%eth0", "a%2eb", "", ".", "a b", "a/b", "a@b", "a:b"])
def test_invalid_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        canonical_host(text)
