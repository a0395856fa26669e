"""Listed files whose paths fall together are refused, each by its pointer."""

from __future__ import annotations

import pytest

from efss_transfer.contract.listed_urls import check_paths
from efss_transfer.contract.storage_types import make_endpoint
from efss_transfer.model.errors import InvalidRequest


def pointers(*paths: str) -> list[str]:
    files = [{"url": "https://x.test/", "path": path} for path in paths]
    endpoint = make_endpoint("urls", {"files": files}, "")
    try:
        check_paths("source", endpoint)
    except InvalidRequest as error:
        return [it.pointer for it in error.violations]
    return []


def test_different_paths_are_accepted() -> None:
    assert pointers("a", "b/a", "b/c", "ab", "b/d/e") == []


@pytest.mark.parametrize("paths", [("a", "A"), ("a", "a/b"), ("a/b", "A"), ("A/x", "a/y")])
def test_second_of_two_that_fall_together_is_named(paths: tuple[str, str]) -> None:
    assert pointers("x", *paths) == ["/source/parameters/files/2/path"]


def test_only_some_are_named() -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_paths(
            "source", make_endpoint("urls", {"files": [{"path": "a"} for _ in range(1500)]}, "")
        )
    assert len(refused.value.violations) == 1000


def test_secrets_of_credentials_are_known() -> None:
    credentials = [{"host": "x.test", "user": "alice", "pass": "p"}, {"host": "y", "pass": "q"}]
    assert make_endpoint("urls", {"credentials": credentials}, "").secrets == {"p", "q"}
