"""Secrets are removed from a text, in every encoding in which they can come back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from efss_transfer.engines.redaction import Redactor

NO_SECRETS = Redactor(())

SECRETS = [
    "hunter22",
    "with space and + plus",
    "a/b+c==&d=e?f#g%h",
    "quotes\"and'back\\slash",
    "pässwörd-🎉",
    "<b>&amp;</b>",
    "%41%42%43%44",
    "tab\there",
    "[a-z]+(.*)$^|",
    r"\1\g<0>",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "form",
    [
        str,
        quote,
        lambda secret: quote(secret, safe=""),
        quote_plus,
        lambda secret: json.dumps(secret)[1:-1],
        lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    ],
    ids=["plain", "in a path", "in a query", "in a form", "JSON", "JSON with letters"],
)
def test_secret_is_removed_in_every_encoding(secret: str, form: Callable[[str], str]) -> None:
    encoded = form(secret)
    text = f"bad password: >{encoded}<, that is >{encoded}< again"

    redacted = Redactor([secret, "another-secret"]).redact(text, "An error.")

    assert redacted == "bad password: >[redacted]<, that is >[redacted]< again"


@pytest.mark.parametrize(
    "shown",
    ["tom\\u0026jerry-\\u003ccanary\\u003e", "tom&amp;jerry-&lt;canary&gt;"],
    # Go's encoder escapes these characters, so that its JSON can be part of an HTML page.
    ids=["JSON as Go writes it", "HTML and XML"],
)
def test_secret_is_removed_from_json_of_go_and_from_html(shown: str) -> None:
    redacted = Redactor(["tom&jerry-<canary>"]).redact(f"refused: {shown}!", "An error.")
    assert redacted == "refused: [redacted]!"


def test_secret_that_contains_another_is_removed_as_a_whole() -> None:
    redacted = Redactor(["abcd", "abcd-and-more"]).redact("it is abcd-and-more", "An error.")
    assert redacted == "it is [redacted]"


def test_text_without_secrets_is_unchanged() -> None:
    text = "Failed to copy: 403 Forbidden: /Measurements/2026/é 🎉.h5 (100 %)"
    assert Redactor(["hunter22"]).redact(text, "An error.") == text


@pytest.mark.parametrize("secret", ["a", "ab", "abc", "é"])
def test_text_with_a_very_short_secret_is_replaced(secret: str) -> None:
    assert Redactor([secret]).redact(f"refused: {secret}!", "An error.") == "An error."
    assert Redactor([secret]).redact("503", "An error.") == "503"


# In the form of ssh-keygen, with a comment at its end; made up for this test.
PEM = """-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACDexamplexamplexamplexamplexamplexamplexamplexamplexQAAAJiexa
mplexamplexamplexamplexamplexamplexamplexamplexamplexamplexamplexamplexa
AAAEDexamplexamplexamplexamplexamplexamplexamplexamplexamplexAAAAC2V4YW1
wbGVAaGVyZQECAwQ=
-----END OPENSSH PRIVATE KEY-----
"""
KEY_LINES = PEM.splitlines()[1:-1]


@pytest.mark.parametrize(
    "shown",
    [
        PEM,
        PEM.strip(),
        PEM.strip().replace("\n", "\\n"),
        PEM.strip().replace("\n", " "),
        PEM.strip().replace("\n", "\r\n"),
        json.dumps(PEM),
        quote(PEM),
        KEY_LINES[2],
        quote(KEY_LINES[-1], safe=""),
    ],
    ids=[
        "whole",
        "stripped",
        "as rclone takes it",
        "on one line",
        "with other line ends",
        "JSON",
        "in a URL",
        "a line",
        "the last line",
    ],
)
@pytest.mark.parametrize(
    "given",
    [PEM, PEM.strip(), PEM.replace("\n", "\r\n"), f"\n{PEM}\n"],
    ids=["as it was made", "without its last line end", "of Windows", "with empty lines"],
)
def test_every_line_of_a_private_key_is_removed(shown: str, given: str) -> None:
    redacted = Redactor([given]).redact(f"ssh: cannot decode {shown}: bad key", "An error.")

    assert [
        line for line in KEY_LINES if line in redacted or quote(line, safe="") in redacted
    ] == []
    assert redacted.startswith("ssh: cannot decode")
    assert redacted.endswith(": bad key")


SERVICE_ACCOUNT = {
    "type": "service_account",
    "project_id": "p",
    "private_key_id": "0123456789abcdef0123456789abcdef",
    "private_key": PEM.replace("OPENSSH ", ""),
    "client_email": "copier@p.iam.gserviceaccount.example.org",
}


@pytest.mark.parametrize(
    "given", [json.dumps(SERVICE_ACCOUNT), json.dumps(SERVICE_ACCOUNT, indent=2)]
)
@pytest.mark.parametrize(
    "shown",
    [
        json.dumps(SERVICE_ACCOUNT),
        json.dumps(SERVICE_ACCOUNT, indent=2),
        json.dumps(SERVICE_ACCOUNT, indent=2).replace("\n", " "),
        json.dumps(json.dumps(SERVICE_ACCOUNT)),
        SERVICE_ACCOUNT["private_key"],
        json.dumps(SERVICE_ACCOUNT["private_key"]),
        SERVICE_ACCOUNT["private_key_id"],
        KEY_LINES[1],
    ],
    ids=[
        "whole",
        "indented",
        "as rclone takes it",
        "JSON in JSON",
        "its key",
        "its key as JSON",
        "its key's id",
        "a line of its key",
    ],
)
def test_secrets_of_a_service_account_are_removed(shown: str, given: str) -> None:
    redacted = Redactor([given]).redact(f"oauth2: cannot use {shown} here", "An error.")

    for secret in [*KEY_LINES, SERVICE_ACCOUNT["private_key_id"]]:
        assert secret not in redacted
    assert redacted.startswith("oauth2: cannot use")


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (
            'Get "https://alice:hunter22@cloud.example.org/dav": refused',
            'Get "https://cloud.example.org/dav": refused',
        ),
        ("sftp://alice@files.example.org: refused", "sftp://files.example.org: refused"),
        (
            'Put "https://s3.example.org/b/a?X-Amz-Credential=AK&X-Amz-Signature=5ec2e7": EOF',
            'Put "https://s3.example.org/b/a?[redacted]": EOF',
        ),
        (
            "got https://blob.example.org/c?sv=1&sig=5ec2e7, and gave up",
            "got https://blob.example.org/c?[redacted] and gave up",
        ),
        (
            "sent Authorization: Bearer eyJh.bGci-Oi_J: 401",
            "sent Authorization: Bearer [redacted]: 401",
        ),
        (
            "sent authorization: basic YWxpY2U6eA==: 401",
            "sent authorization: basic [redacted]: 401",
        ),
        ("alice@example.org may not: 403", "alice@example.org may not: 403"),
        ("is it there? No: 404", "is it there? No: 404"),
    ],
)
def test_unknown_credentials_are_removed(text: str, redacted: str) -> None:
    assert NO_SECRETS.redact(text, "An error.") == redacted


def test_internal_address_is_removed() -> None:
    text = 'Propfind "http://0123abcd.efss-gateway.invalid/a/b": EOF'
    assert NO_SECRETS.redact(text, "An error.") == 'Propfind "/a/b": EOF'
    other = "http://host.invalid.example.org/a: EOF"
    assert NO_SECRETS.redact(other, "An error.") == other


def test_control_characters_are_removed() -> None:
    controls = "".join(map(chr, [*range(32), 127]))
    redacted = NO_SECRETS.redact(f"one{controls}two\r\nthree\x1b[2Jfour\n", "An error.")
    assert redacted == "one two three [2Jfour"


def test_long_text_is_cut_with_an_ellipsis() -> None:
    assert NO_SECRETS.redact("x" * 500, "An error.") == "x" * 500
    redacted = NO_SECRETS.redact("x" * 501, "An error.")
    assert redacted == "x" * 499 + "…"


def test_secret_across_the_cut_leaves_no_part() -> None:
    secret = "canary-" + "5" * 40
    redacted = Redactor([secret]).redact("x" * 480 + secret + "y" * 100, "An error.")
    assert "canary" not in redacted
    assert re.search("5{4}", redacted) is None


@pytest.mark.parametrize("text", ["", "   ", "\n", "\x00\x1f"])
def test_empty_text_is_replaced(text: str) -> None:
    assert NO_SECRETS.redact(text, "An error.") == "An error."
