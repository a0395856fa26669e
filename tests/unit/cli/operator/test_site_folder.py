"""The files of a site: modes, what is kept, and what is never overwritten."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from efss_transfer.cli import main

CLOUD = {"url": "https://cloud.example.org/remote.php/webdav", "user": "alice"}


def init(folder: Path, *words: str, storage: dict[str, Any] | None = None) -> Result:
    options = ["--yes", "--address", "https://transfer.example.org", *words]
    if storage is not None:
        options += ["--storage", "cloud=" + json.dumps({"type": "webdav", "parameters": storage})]
    return CliRunner().invoke(main.main, ["init", str(folder), *options])


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(it.relative_to(folder)): it.read_bytes() for it in folder.rglob("*") if it.is_file()
    }


def test_secrets_are_for_their_owner_only_and_are_not_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_PASSWORD", "canary-password")
    before = os.umask(0)
    try:
        done = init(tmp_path / "s", storage={**CLOUD, "pass": {"env": "CLOUD_PASSWORD"}})
    finally:
        os.umask(before)
    assert done.exit_code == 0, done.output
    modes = {
        str(it.relative_to(tmp_path)): oct(it.stat().st_mode & 0o777)
        for it in tmp_path.rglob("*")
        if it.stat().st_mode & 0o077
    }
    assert modes == dict.fromkeys(
        ["s/efss-transfer.service", "s/efss-transfer.socket", "s/nginx.conf"], "0o644"
    )
    assert (tmp_path / "s/credentials/cloud.pass").read_text() == "canary-password\n"
    token = (tmp_path / "s/tokens/portal").read_text().strip()
    assert len(token) == 64
    site = json.loads((tmp_path / "s/site.json").read_text())
    hashed = hashlib.sha256(token.encode()).hexdigest()
    assert site["authentication"]["tokens"] == [{"caller": "portal", "sha256": hashed}]
    public = b"".join(
        text
        for path, text in content(tmp_path / "s").items()
        if not path.startswith(("tokens", "credentials"))
    ).decode()
    for secret in ("canary-password", token):
        assert secret not in done.output + public


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    assert init(folder, storage=CLOUD).exit_code == 0
    (folder / "credentials/cloud.pass").write_text("typed later\n")
    (folder / "nginx.conf").write_text("mine")
    before = content(folder)
    again = init(folder, storage=CLOUD)
    assert again.exit_code == 1
    assert f"{folder}/nginx.conf" in again.output
    assert content(folder) == before
    assert init(folder, "--force", storage=CLOUD).exit_code == 0
    after = content(folder)
    assert after["nginx.conf"] != b"mine"
    assert after["tokens/portal"] != before["tokens/portal"]
    # What nobody has given again is kept.
    assert after["credentials/cloud.pass"] == b"typed later\n"


def test_other_callers_token_and_dangling_link_are_not_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    (folder / "tokens").mkdir(parents=True)
    (folder / "tokens/portal").symlink_to(tmp_path / "elsewhere")
    done = init(folder)
    assert done.exit_code == 1
    assert not (tmp_path / "elsewhere").exists()
    assert list(content(folder)) == []


def test_site_that_would_be_invalid_is_not_written(tmp_path: Path) -> None:
    done = init(tmp_path / "s", storage={**CLOUD, "url": "ftp://x"})
    assert done.exit_code == 1
    assert "/storages/cloud/parameters/url" in done.output
    assert not (tmp_path / "s").exists()


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("a file")
    done = init(tmp_path / "s" / "x")
    assert done.exit_code == 1
    assert "cannot be written" in done.output
    assert init(tmp_path / "a b").exit_code == 2
    assert CliRunner().invoke(main.main, ["init", str(tmp_path / "n"), "--yes"]).exit_code == 2


def test_steps_name_what_is_still_to_do(tmp_path: Path) -> None:
    done = init(tmp_path / "s", "--caller", "lab", storage=CLOUD)
    assert f"Write the pass of cloud into {tmp_path}/s/credentials/cloud.pass." in done.output
    assert f"--token-file {tmp_path}/s/tokens/lab cloud:" in done.output
    steps = [line[0] for line in done.output.splitlines() if line[1:2] == "."]
    assert steps == ["1", "2", "3"]


def test_oidc_site_has_no_tokens(tmp_path: Path) -> None:
    done = init(tmp_path / "s", "--oidc-issuer", "https://sso.example.org")
    assert done.exit_code == 0, done.output
    site = json.loads((tmp_path / "s/site.json").read_text())
    assert site["authentication"] == {
        "mode": "oidc",
        "issuer": "https://sso.example.org",
        "audience": ["efss-transfer"],
    }
    assert list((tmp_path / "s/tokens").iterdir()) == []


def test_questions_have_defaults_and_secrets_are_not_echoed(tmp_path: Path) -> None:
    answers = [
        *("A university", "transfer.example.org", "portal, lab"),
        *("cloud", "webdav", CLOUD["url"], "", "alice", "canary-password", "", "source"),
        *("a b", "sftp-1", "sftp", "sftp.example.org", "bob", "", "data", "both"),
        *("", "*.example.org", "0", "4", ""),
    ]
    done = CliRunner().invoke(
        main.main, ["init", str(tmp_path / "s")], input="".join(f"{it}\n" for it in answers)
    )
    assert done.exit_code == 0, done.output
    assert "canary" not in done.output
    site = json.loads((tmp_path / "s/site.json").read_text())
    assert site["limits"] == {"concurrent_transfers": 4, "duration_seconds": 3600}
    assert site["allow"] == {"hosts": ["*.example.org"]}
    assert site["callers"] == {"portal": {}, "lab": {}}
    assert site["storages"]["cloud"]["use"] == ["source"]
    assert site["storages"]["sftp-1"]["root"] == "data"
    assert (tmp_path / "s/credentials/cloud.pass").read_text() == "canary-password\n"
    assert (tmp_path / "s/credentials/sftp-1.pass").read_text() == ""
    assert "A university" in (tmp_path / "s/nginx.conf").read_text()
