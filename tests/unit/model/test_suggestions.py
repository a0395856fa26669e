"""What is suggested for an unknown name."""

from __future__ import annotations

import pytest

from efss_transfer.model.suggestions import suggestion

KNOWN = ("source", "destination", "selection", "options", "s3", "sftp", "ftp", "webdav")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("source", "source"),
        ("Source", "source"),
        ("sorce", "source"),
        ("soruce", "source"),
        ("sourcess", "source"),
        ("desination", "destination"),
        ("sftpp", "sftp"),
        ("S3", "s3"),
        ("s4", "s3"),
        ("web-dav", "webdav"),
        ("sauces", None),
        ("x", None),
        ("", None),
        ("destinationdestinationdestinationdestination", None),
    ],
)
def test_nearest_name_is_suggested(name: str, meant: str | None) -> None:
    assert suggestion(name, KNOWN) == meant


def test_synonym_is_suggested_only_if_it_is_known() -> None:
    synonyms = {"password": ["pass", "key"]}
    assert suggestion("password", ["user", "pass"], synonyms) == "pass"
    assert suggestion("password", ["user", "key"], synonyms) == "key"
    assert suggestion("password", ["user", "token"], synonyms) is None


def test_first_of_equally_near_names_is_suggested() -> None:
    assert suggestion("b2x", ["b2", "b2y"]) == "b2"
