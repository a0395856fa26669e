"""An upload by tus: what a gateway knows of it."""

from __future__ import annotations

import time

import pytest

from efss_transfer.webdav.http.connections import Origin
from efss_transfer.webdav.large.marks import Key
from efss_transfer.webdav.tus import requests
from efss_transfer.webdav.tus.requests import Mark, TusUpload


def upload(**known: object) -> TusUpload:
    made = TusUpload(Origin("http", "a", 80), "/data/x", ("f",), Key("p", "s"), 100, {})
    for name, value in known.items():
        setattr(made, name, value)
    return made


def test_server_may_have_what_the_longest_attempt_read() -> None:
    assert upload().sent == 0
    assert upload(marks=[Mark(70, "a"), Mark(30, "b")]).sent == 70


def test_upload_expires_when_the_server_says() -> None:
    assert not upload().has_expired
    assert not upload(expires=time.time() + 60).has_expired
    assert upload(expires=time.time() - 1).has_expired


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("1740000000", 1_740_000_000),
        ("Wed, 19 Feb 2025 21:20:00 GMT", 1_740_000_000),
        ("Wed, 19 Feb 2025 22:20:00 +0100", 1_740_000_000),
        ("", None),
        (None, None),
        ("soon", None),
        ("9" * 40, None),
    ],
)
def test_moment_is_a_date_or_seconds(said: str | None, meant: float | None) -> None:
    assert requests.moment(said) == meant
