"""GET / for programs: the storages of the site, for those who may use them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from efss_transfer.config.settings import Settings
from efss_transfer.service.application import Service
from efss_transfer.service.http_messages import Request
from efss_transfer.service.self_description import SCHEMA
from efss_transfer.site import site_file
from efss_transfer.site.site_file import Site

STORAGES = {
    "archive": {
        "type": "s3",
        "parameters": {
            "endpoint": "https://s3.example.org",
            "access_key_id": {"env": "ARCHIVE_KEY"},
            "secret_access_key": {"env": "ARCHIVE_SECRET"},
        },
        "root": "hidden-bucket/incoming",
        "use": ["destination"],
    },
    "cloud": {
        "type": "webdav",
        "parameters": {"url": "https://cloud.example.org/remote.php/webdav"},
        "caller_parameters": ["user", "pass"],
    },
}
ARCHIVE = {"name": "archive", "type": "s3", "use": ["destination"], "caller_parameters": []}
CLOUD = {
    "name": "cloud",
    "type": "webdav",
    "use": ["source", "destination"],
    "caller_parameters": ["pass", "user"],
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVE_KEY", "canary-key")
    monkeypatch.setenv("ARCHIVE_SECRET", "canary-secret")


def site(tmp_path: Any, **members: Any) -> Site:
    file = tmp_path / "site.json"
    file.write_text(json.dumps({"storages": STORAGES, **members}), "utf-8")
    return site_file.read(file)


def tokens(tmp_path: Any, **callers: Any) -> Site:
    known = [
        {"caller": name, "sha256": hashlib.sha256(f"token-of-{name}".encode()).hexdigest()}
        for name in callers
    ]
    return site(tmp_path, authentication={"mode": "tokens", "tokens": known}, callers=callers)


def described(
    of: Site, remote: str = "127.0.0.1", *, vouched: bool = False, **headers: str
) -> dict[str, Any]:
    response = Service(Settings.read({}), of, {}).answer(
        Request(
            method="GET",
            path="/",
            header=headers.get,
            content_type="",
            negotiate=lambda: "application/json",
            read_body=lambda _: b"",
            remote=remote,
            vouched=vouched,
        )
    )
    assert response.status == 200
    assert "Authorization" in response.headers["Vary"]
    assert isinstance(response.body, bytes)
    document: dict[str, Any] = json.loads(response.body)
    assert set(document) <= set(SCHEMA["properties"])
    assert set(document) >= set(SCHEMA["required"])
    # Neither where a storage is, nor its secrets.
    for hidden in ("hidden-bucket", "example.org", "canary", "ARCHIVE"):
        assert hidden not in response.body.decode()
    return document


def test_callers_see_only_the_storages_they_may_use(tmp_path: Any, environment: None) -> None:
    of = tokens(tmp_path, alice={"storages": ["cloud"]}, bob={})
    seen = {
        name: described(of, Authorization=f"Bearer token-of-{name}").get("storages")
        for name in ("alice", "bob", "nobody")
    }
    assert seen == {"alice": [CLOUD], "bob": [ARCHIVE, CLOUD], "nobody": None}


def test_description_without_token_names_no_storage(tmp_path: Any, environment: None) -> None:
    document = described(tokens(tmp_path, alice={}))
    assert "storages" not in document
    assert '"archive"' not in json.dumps(document)


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080", ""])
def test_local_callers_see_storages_without_authentication(
    tmp_path: Any, environment: None, host: str
) -> None:
    headers: dict[str, Any] = {"Host": host} if host else {}
    assert described(site(tmp_path), **headers)["storages"] == [ARCHIVE, CLOUD]


def test_other_machines_and_taken_over_names_see_none(tmp_path: Any, environment: None) -> None:
    of = site(tmp_path)
    assert "storages" not in described(of, "192.0.2.7")
    # A page whose host name resolves to this machine: the browser sends its name.
    assert "storages" not in described(of, Host="evil.example:8080")
    assert "storages" not in described(of, Host="127.0.0.1", Origin="https://evil.example")
    # The platform has authenticated the caller.
    assert "storages" in described(of, "192.0.2.7", vouched=True, Host="fn.example.org")
