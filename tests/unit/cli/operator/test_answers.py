"""What an operator answers is checked before anything is written."""

from __future__ import annotations

import click
import pytest

from efss_transfer.cli.operator.answers import Address, file_name, one_line, usual_parameters


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://transfer.example.org", "https://transfer.example.org"),
        (" transfer.example.org ", "https://transfer.example.org"),
        ("HTTPS://Transfer.example.org:443/", "https://transfer.example.org"),
        ("localhost:8443", "https://localhost:8443"),
    ],
)
def test_address_is_read_as_a_person_writes_it(text: str, url: str) -> None:
    assert Address.parse(text).url == url


@pytest.mark.parametrize(
    "text",
    [
        *("", "http://transfer.example.org", "https://", "https://a b", "https://a;b"),
        *("https://x:99999", "https://x.org/path", "https://u@x.org", "https://x.org?q"),
        # nginx tells the site by the name in the handshake, and an address gives none.
        *("https://127.0.0.1", "https://[::1]", "x\n}"),
    ],
)
def test_address_that_nginx_could_not_serve_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Address.parse(text)


@pytest.mark.parametrize("text", ["", "..", "a/b", "a b", "-a", "é", "x" * 65, "a\n"])
def test_name_that_is_no_file_name_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        file_name(text)


@pytest.mark.parametrize("text", ["", " ", "a\nExecStart=/bin/sh", "x" * 101])
def test_name_that_breaks_a_comment_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        one_line(text)


def test_usual_parameters_come_from_the_schema() -> None:
    assert list(usual_parameters("webdav")) == ["url", "vendor", "user", "pass"]
    assert "key_pem" not in usual_parameters("sftp")
