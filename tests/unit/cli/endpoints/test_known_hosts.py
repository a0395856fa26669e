"""Keys of servers in the file that ssh keeps."""

from __future__ import annotations

import base64
import hmac
from pathlib import Path

from efss_transfer.cli.endpoints.known_hosts import keys_of


def hashed(name: str) -> str:
    salt = b"s" * 20
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def test_keys_are_found_by_plain_and_hashed_names(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(
        "# a comment\n"
        "one.example.org,192.0.2.1 ssh-ed25519 AAAA me@here\n"
        "one.example.org ssh-rsa BBBB\n"
        "@revoked one.example.org ssh-rsa CCCC\n"
        "[one.example.org]:2222 ssh-rsa DDDD\n"
        f"{hashed('two.example.org')} ssh-rsa EEEE\n"
        f"{hashed('[two.example.org]:2222')} ssh-rsa FFFF\n"
        "|1|broken ssh-rsa GGGG\n|1|a|b|c ssh-rsa HHHH\nshort\n"
    )
    assert keys_of("one.example.org", 22, file) == ["ssh-ed25519 AAAA", "ssh-rsa BBBB"]
    assert keys_of("192.0.2.1", 22, file) == ["ssh-ed25519 AAAA"]
    assert keys_of("one.example.org", 2222, file) == ["ssh-rsa DDDD"]
    assert keys_of("two.example.org", 22, file) == ["ssh-rsa EEEE"]
    assert keys_of("two.example.org", 2222, file) == ["ssh-rsa FFFF"]
    assert keys_of("three.example.org", 22, file) == []
    assert keys_of("one.example.org", 22, tmp_path / "nowhere") == []
