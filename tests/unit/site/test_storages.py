"""A storage of the site's: what a caller adds, may use, and cannot leave."""

from __future__ import annotations

import json
from typing import Any

import pytest

from efss_transfer.contract.request_parser import parse
from efss_transfer.model.errors import ConfigurationError, Forbidden, InvalidRequest
from efss_transfer.model.request import Endpoint
from efss_transfer.site.site_file import Caller, Site, SiteStorage
from efss_transfer.site.storages import Storages

OTHER = {
    "type": "sftp",
    "parameters": {"host": "h.example.org", "user": "u", "pass": "p"},
    "path": "x",
}
SITE = Site(
    storages={
        "archive": SiteStorage(
            "archive",
            "s3",
            {
                "endpoint": "https://s3.example.org",
                "access_key_id": {"env": "ARCHIVE_KEY"},
                "secret_access_key": {"env": "ARCHIVE_SECRET"},
            },
            root="bucket/incoming",
            use=frozenset({"destination"}),
        ),
        "cloud": SiteStorage(
            "cloud",
            "webdav",
            {"url": "https://cloud.example.org/remote.php/webdav", "vendor": "nextcloud"},
            frozenset({"user", "pass"}),
        ),
        "home": SiteStorage("home", "sftp", OTHER["parameters"], frozenset(), ""),  # type: ignore[arg-type]
        "disk": SiteStorage("disk", "sftp", OTHER["parameters"], frozenset(), "/srv/data"),  # type: ignore[arg-type]
    }
)


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVE_KEY", "the key")
    monkeypatch.setenv("ARCHIVE_SECRET", "the secret")


def ask(side: str, end: dict[str, Any], caller: Caller | None = None) -> Endpoint:
    """One side of a request, as the site completes it."""
    storages = Storages(SITE)
    body = {"source": OTHER, "destination": OTHER, side: {"path": "", **end}}
    asked = parse(json.dumps(body).encode(), lambda *it: storages.endpoint(caller or Caller(), *it))
    return asked.source if side == "source" else asked.destination


def refused(side: str, end: dict[str, Any], caller: Caller | None = None) -> list[str]:
    with pytest.raises(Forbidden) as error:
        ask(side, end, caller)
    assert all(it.keyword == "policy" for it in error.value.violations)
    return [it.pointer for it in error.value.violations]


def test_site_parameters_are_added_and_its_secrets_hidden() -> None:
    end = ask("destination", {"storage": "archive", "path": "2026"})
    assert end.type == "s3"
    assert end.parameters == {
        "endpoint": "https://s3.example.org",
        "access_key_id": "the key",
        "secret_access_key": "the secret",
    }
    assert end.secrets == {"the key", "the secret"}
    assert end.site_parameters == set(end.parameters)
    assert end.storage == "archive"
    assert "the secret" not in repr(end)


def test_caller_may_add_credentials() -> None:
    end = ask("source", {"storage": "cloud", "parameters": {"user": "alice", "pass": "secret"}})
    assert end.parameters["user"] == "alice"
    assert end.site_parameters == {"url", "vendor"}
    assert end.secrets == {"secret"}


@pytest.mark.parametrize(
    ("storage", "path", "expected"),
    [
        ("archive", "", "bucket/incoming/"),
        ("archive", "2026/a", "bucket/incoming/2026/a"),
        ("archive", "/2026/a", "bucket/incoming/2026/a"),
        ("archive", "//other-bucket/a", "bucket/incoming/other-bucket/a"),
        ("archive", "2026/", "bucket/incoming/2026/"),
        ("archive", "%2e%2e/a", "bucket/incoming/%2e%2e/a"),
        ("home", "", ""),
        ("home", "/etc", "etc"),
        ("disk", "/etc", "/srv/data/etc"),
        ("disk", "", "/srv/data/"),
    ],
)
def test_path_is_below_the_root(storage: str, path: str, expected: str) -> None:
    assert ask("destination", {"storage": storage, "path": path}).path == expected


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../other",
        "a/../../b",
        "a/..",
        "./a",
        "a/./b",
        "．．/a",
        "a／../b",
        "..\\a",
        "a\\..\\b",
        "․․/a",
        "﹒﹒/a",
        "‥/a",
        "／．．／a",
        "a/\0",
        "a\n../b",
    ],
)
def test_path_cannot_leave_the_root(path: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        ask("destination", {"storage": "archive", "path": path})
    assert [it.pointer for it in error.value.violations] == ["/destination/path"]


def test_site_parameter_cannot_be_changed_by_a_request() -> None:
    added = {"endpoint": "https://evil.example.com", "region": "x", "user": "alice"}
    assert refused("destination", {"storage": "archive", "parameters": added}) == [
        "/destination/parameters/endpoint",
        "/destination/parameters/region",
        "/destination/parameters/user",
    ]
    assert refused(
        "source", {"storage": "cloud", "parameters": {"url": "https://evil.example.com"}}
    ) == ["/source/parameters/url"]


def test_added_parameters_must_fit_the_type() -> None:
    with pytest.raises(InvalidRequest) as error:
        ask("source", {"storage": "cloud", "parameters": {"user": 1}})
    assert [(it.pointer, it.keyword) for it in error.value.violations] == [
        ("/source/parameters/user", "type")
    ]


def test_storage_is_usable_only_on_its_configured_sides() -> None:
    assert refused("source", {"storage": "archive"}) == ["/source/storage"]


BOB = Caller(storages=frozenset({"cloud"}))


@pytest.mark.parametrize("name", ["archive", "archiv", "nonexistent", "hom"])
def test_storage_of_another_caller_looks_nonexistent(name: str) -> None:
    with pytest.raises(Forbidden) as error:
        ask("destination", {"storage": name}, BOB)
    (violation,) = error.value.violations
    assert violation.pointer == "/destination/storage"
    assert violation.message == "This caller has no storage of this name."


@pytest.mark.parametrize(
    ("side", "name", "caller", "meant"),
    [
        ("source", "Cloud", BOB, "cloud"),
        ("destination", "archvie", Caller(), "archive"),
        ("source", "archvie", Caller(), None),  # this storage cannot be a source
    ],
)
def test_misspelt_storage_is_told_the_one_that_the_caller_may_use(
    side: str, name: str, caller: Caller, meant: str | None
) -> None:
    with pytest.raises(Forbidden) as error:
        ask(side, {"storage": name}, caller)
    (violation,) = error.value.violations
    question = f" Did you mean `{meant}`?" if meant else ""
    assert violation.message == f"This caller has no storage of this name.{question}"


def test_both_sides_are_reported_together() -> None:
    storages = Storages(SITE)
    body = {
        "source": {"storage": "archive", "path": ""},
        "destination": {"storage": "nope", "path": ""},
    }
    with pytest.raises(Forbidden) as error:
        parse(json.dumps(body).encode(), lambda *it: storages.endpoint(Caller(), *it))
    assert [it.pointer for it in error.value.violations] == [
        "/source/storage",
        "/destination/storage",
    ]


@pytest.mark.parametrize("value", ["", "two\nlines"])
def test_unusable_secret_is_a_configuration_error_without_details(
    value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ARCHIVE_SECRET", value)
    with pytest.raises(ConfigurationError) as error:
        ask("destination", {"storage": "archive"})
    assert error.value.status == 500
    assert "ARCHIVE_SECRET" not in str(error.value)
    assert "'archive'" in caplog.text
    assert "two" not in caplog.text


@pytest.mark.parametrize(
    "end",
    [
        {"storage": "cloud", "type": "webdav"},
        {"storage": "cloud", "type": "webdav", "parameters": {"url": "https://evil.example.com"}},
        {"storage": ""},
        {"storage": 1},
        {"storage": "a" * 65},
        {"storage": "cloud", "root": "/"},
        {},
        {"path": "x"},
    ],
)
def test_endpoint_has_a_type_or_a_storage_but_not_both(end: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        ask("source", end)


@pytest.mark.parametrize(("path", "is_refused"), [("", True), ("/", True), ("bucket", False)])
def test_storage_of_the_site_needs_a_bucket_as_a_destination(path: str, is_refused: bool) -> None:
    def find(_: str, document: Any) -> Endpoint:
        return Endpoint("s3", {}, document["path"], storage="archive")

    to = {"storage": "archive", "path": path}
    body = json.dumps({"source": OTHER, "destination": to}).encode()
    if is_refused:
        with pytest.raises(InvalidRequest) as refused:
            parse(body, find)
        assert [it.pointer for it in refused.value.violations] == ["/destination/path"]
    else:
        assert parse(body, find).destination.path == path
