"""An endpoint that is being made: addresses as people have them, types, what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from efss_transfer.cli.endpoints.draft import Draft, Invalid
from efss_transfer.cli.endpoints.presets import preset_of

FILES = "https://cloud.example.org/remote.php/dav/files/alice"


def draft(kind: str, **texts: str) -> Draft:
    made = Draft(preset_of(kind))
    for parameter, text in texts.items():
        made.set(parameter, text)
    return made


@pytest.mark.parametrize("kind", ["nextcloud", "owncloud", "ocis"])
@pytest.mark.parametrize(
    "address",
    [
        "cloud.example.org",
        "https://cloud.example.org/",
        "https://cloud.example.org/index.php/apps/files/files/12?dir=/Measurements&openfile=true",
        "https://cloud.example.org/login#x",
        FILES,
        f"{FILES}/",
    ],
)
def test_address_of_the_browser_becomes_that_of_webdav(kind: str, address: str) -> None:
    made = draft(kind, url=address, user="alice", **{"pass": "x"})
    assert made.finish() == []
    assert made.parameters["url"].rstrip("/") == FILES


def test_address_of_webdav_tells_the_account() -> None:
    made = draft("nextcloud", url=f"{FILES}/", **{"pass": "x"})
    assert made.finish() == []
    assert made.parameters["user"] == "alice"


@pytest.mark.parametrize("secret", [{}, {"pass": "x"}])
def test_public_link_needs_no_account(secret: dict[str, str]) -> None:
    made = draft("nextcloud", url="https://cloud.example.org/s/abc", **secret)
    assert not any(question.is_required for question in made.open_questions())
    assert made.finish() == []
    assert made.parameters["url"] == "https://cloud.example.org/public.php/dav/files/abc"
    assert made.parameters.get("user") == ("anonymous" if secret else None)


def test_page_for_app_passwords_is_below_the_site() -> None:
    made = draft("nextcloud", url="https://example.org/cloud/index.php/apps/files", user="alice")
    page = "https://example.org/cloud/index.php/settings/user/security"
    assert made.app_passwords() == page
    assert draft("ocis", url="https://ocis.example.org").app_passwords() is None


@pytest.mark.parametrize(
    ("text", "host", "port", "user"),
    [
        ("sftp.example.org", "sftp.example.org", None, None),
        ("sftp.example.org:2222", "sftp.example.org", 2222, None),
        ("sftp://alice@sftp.example.org:2222/x", "sftp.example.org", 2222, "alice"),
        ("[2001:db8::1]:22", "2001:db8::1", 22, None),
    ],
)
def test_host_may_have_a_port_and_a_user(
    text: str, host: str, port: int | None, user: str | None
) -> None:
    made = draft("sftp", host=text)
    assert (made.parameters["host"], made.parameters.get("port")) == (host, port)
    assert made.suggested.get("user") == user


def test_s3_address_may_have_a_bucket() -> None:
    made = draft("ceph", endpoint="https://s3.example.org/bucket/2026/")
    assert made.parameters["endpoint"] == "https://s3.example.org"
    assert made.suggested == {"path": "bucket/2026"}


def test_host_key_that_ssh_has_accepted_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "known_hosts").write_text("sftp.example.org ssh-ed25519 AAAA\n")
    made = draft("sftp", host="sftp.example.org", user="alice", **{"pass": "x"})
    assert made.finish() == []
    assert made.parameters["host_keys"] == "ssh-ed25519 AAAA"


@pytest.mark.parametrize(
    ("kind", "parameter", "text"),
    [
        ("sftp", "host", "a b"),
        ("sftp", "host", "x:port"),
        ("ceph", "endpoint", "https://u:canary@x"),
        ("ceph", "force_path_style", "canary"),
        ("webdav", "url", "https://[canary"),
        ("webdav", "nothing", "canary"),
        ("webdav", "pass", "can\nary"),
        ("webdav", "path", "../canary"),
    ],
)
def test_invalid_value_is_refused_without_quoting_it(kind: str, parameter: str, text: str) -> None:
    with pytest.raises(Invalid) as told:
        draft(kind, **{parameter: text})
    assert "canary" not in str(told.value)


def test_types_of_the_schema_are_those_of_the_values() -> None:
    made = draft("s3", force_path_style="no", list_version="1")
    assert made.parameters["force_path_style"] is False
    assert made.parameters["list_version"] == 1


def test_references_are_taken_for_valid_secrets() -> None:
    made = Draft(preset_of("drive"))
    made.refer("token", "env", "TOKEN")
    assert made.finish() == []
    with pytest.raises(Invalid, match="cannot be read"):
        made.refer("token", "file", "/nowhere")
    assert [question.parameter for question in Draft(preset_of("aws")).open_questions()] == [
        "region",
        "access_key_id",
        "path",
    ]


def test_what_contradicts_itself_is_found_at_the_end() -> None:
    made = draft("webdav", url="https://cloud.example.org/index.php/apps/files")
    (wrong,) = made.finish()
    assert wrong.startswith("url: The URL is a page for people.")
    assert "https://cloud.example.org/remote.php/dav/files/USER" in wrong
