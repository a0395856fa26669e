"""`efss-transfer site check --connect` tries every storage of a site file, and shows no secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support import fts_server
from support import storages as servers
from support.cli_user import User
from support.storages import Storage


@pytest.fixture
def site(user: User, webdav: Storage, s3: Storage, name: str) -> Path:
    """Storages that pass, one with a wrong password, one that callers sign in to."""
    webdav.fill(name, {"a.txt": b"a"})
    secrets = {"wrong": "canary-wrong", "pass": str(webdav.parameters["pass"])}
    for secret in ("access_key_id", "secret_access_key"):
        secrets[secret] = str(s3.parameters[secret])
    for secret, value in secrets.items():
        (user.home / secret).write_text(f"{value}\n")

    def kept(parameters: dict[str, str], **files: str) -> dict[str, Any]:
        return {**parameters, **{key: {"file": str(user.home / it)} for key, it in files.items()}}

    cloud = {"type": "webdav", "parameters": kept(webdav.parameters, **{"pass": "pass"})}
    keys = kept(s3.parameters, access_key_id="access_key_id", secret_access_key="secret_access_key")
    callers = {it: value for it, value in webdav.parameters.items() if it not in ("user", "pass")}
    return user.write(
        "site.json",
        {
            "storages": {
                "cloud": {**cloud, "root": name},
                "wrong": {
                    "type": "webdav",
                    "parameters": kept(webdav.parameters, **{"pass": "wrong"}),
                },
                "archive": {
                    "type": "s3",
                    "parameters": keys,
                    "root": f"bucket/{name}",
                    "use": ["destination"],
                },
                "theirs": {
                    "type": "webdav",
                    "parameters": callers,
                    "caller_parameters": ["user", "pass"],
                },
            },
            # Whoever may call the service, its operator may try its storages.
            "authentication": {
                "mode": "tokens",
                "tokens": [{"caller": "portal", "sha256": servers.digest(b"token")}],
            },
            "callers": {"portal": {"storages": ["cloud"]}},
        },
    )


def test_site_check_tries_each_storage(user: User, site: Path, webdav: Storage) -> None:
    done = user.run("site", "check", "--connect", site)
    assert done.returncode == 4, done.stderr
    lines = {line.split()[1]: line for line in done.stdout.splitlines() if line[0] != " "}
    assert lines["cloud"].split(maxsplit=2) == ["ok", "cloud", "reached, signed in, may read"]
    assert lines["archive"].split()[0] == "ok"
    assert lines["wrong"].startswith("failed")
    assert "reached, not signed in: authentication_failed: " in lines["wrong"]
    assert lines["theirs"].startswith("skipped")
    assert "because a request gives pass, user" in lines["theirs"]
    told = done.stdout + done.stderr
    assert "canary" not in told
    assert str(webdav.parameters["pass"]) not in told


def test_site_check_does_not_try_what_lacks_its_secret(user: User, site: Path) -> None:
    document = json.loads(site.read_text())
    del document["storages"]["theirs"], document["storages"]["archive"]
    site.write_text(json.dumps(document))
    (user.home / "wrong").unlink()
    done = user.run("site", "check", "--connect", "--json", site)
    assert done.returncode == 3
    shown = json.loads(done.stdout)
    assert shown["valid"]
    assert [it["pointer"] for it in shown["missing"]] == ["/storages/wrong/parameters/pass"]
    assert [(it["name"], it["state"]) for it in shown["storages"]] == [
        ("cloud", "ok"),
        ("wrong", "failed"),
    ]
    assert shown["storages"][1]["code"] == "secret"
    del document["storages"]["wrong"]
    site.write_text(json.dumps(document))
    assert user.run("site", "check", "--connect", site).returncode == 0


def test_site_check_asks_the_fts_server_too(user: User) -> None:
    (user.home / "fts").write_text("canary-for-fts")
    with fts_server.serving() as fts:
        named = {"url": fts.url, "token": {"file": str(user.home / "fts")}}
        site = user.write(
            "site.json", {"engines": {"fts": named}, "allow": {"networks": ["127.0.0.0/8"]}}
        )
        fts.admit("canary-for-fts")
        done = user.run("site", "check", "--connect", site)
        assert done.returncode == 0, done.stderr
        last = done.stdout.splitlines()[-1].split(maxsplit=3)
        assert last == ["ok", "engine", "fts", "reached, token accepted"]
        fts.reset()
        refused = user.run("site", "check", "--connect", "--json", site)
    assert refused.returncode == 4
    shown = json.loads(refused.stdout)
    assert (shown["valid"], shown["storages"]) == (True, [])
    [engine] = shown["engines"]
    assert (engine["name"], engine["state"]) == ("fts", "failed")
    assert engine["code"] == "authentication_failed"
    assert engine["detail"].startswith("reached, token not accepted: authentication_failed: ")
    assert "canary" not in done.stdout + done.stderr + refused.stdout + refused.stderr
