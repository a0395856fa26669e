"""Secrets of the endpoints file, and bearer tokens, from each source that the command reads."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from support import service_process
from support import storages as servers
from support.cli_user import PROGRAM, User
from support.storages import Storage


def test_secrets_are_read_from_descriptor_file_and_prompt(
    user: User, webdav: Storage, s3: Storage, name: str
) -> None:
    hashes = webdav.fill(name, {"a": b"a"})
    keys = {**s3.parameters, "secret_access_key": {"file": "~/key"}}
    (user.home / "key").write_text(s3.parameters["secret_access_key"] + "\n")
    archive = {"type": "s3", "path": "bucket", "parameters": keys}
    del user.environment["CLOUD_PASSWORD"]

    def know(reference: dict[str, Any]) -> None:
        cloud = {**webdav.parameters, "pass": reference}
        user.write_endpoints(cloud={"type": "webdav", "parameters": cloud}, archive=archive)

    know({"fd": 0})
    secret = webdav.parameters["pass"]
    done = user.run("copy", f"cloud:{name}", f"archive:{name}", input=secret)
    assert done.returncode == 0, done.stderr
    assert s3.hashes(f"bucket/{name}") == hashes
    know({"prompt": "Password of the cloud"})
    with user.in_terminal("copy", f"cloud:{name}", f"archive:{name}") as screen:
        screen.wait_for("Password of the cloud")
        screen.press(secret.encode() + b"\n")
        assert screen.end() == 0
    assert secret not in screen.raw
    with subprocess.Popen(
        [PROGRAM, "copy", f"cloud:{name}", f"archive:{name}"],
        env=user.environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        _, error = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "no terminal is available" in error


@pytest.mark.slow
def test_token_is_read_from_variable_file_and_descriptor(
    user: User, tmp_path: Path, webdav: Storage, s3: Storage, name: str
) -> None:
    webdav.fill(name, {"a": b"a"})
    token = servers.password()
    sha256 = servers.digest(token.encode())
    mode = {"mode": "tokens", "tokens": [{"caller": "alice", "sha256": sha256}]}
    (tmp_path / "run").mkdir()
    words = ["copy", f"cloud:{name}", f"archive:{name}"]
    with service_process.function(
        tmp_path / "run", site={**service_process.LOOPBACK, "authentication": mode}
    ) as function:
        user.environment["EFSS_TRANSFER_URL"] = function.url
        none = user.run(*words)
        assert none.returncode == 7
        assert "efss-transfer: unauthenticated:" in none.stderr
        wrong = user.run(*words, environment={"EFSS_TRANSFER_TOKEN": "canary-wrong"})
        assert wrong.returncode == 7
        assert "canary-wrong" not in wrong.stdout + wrong.stderr
        assert user.run(*words, environment={"EFSS_TRANSFER_TOKEN": token}).returncode == 0
        (user.home / "token").write_text(token + "\n")
        assert user.run(*words, "--token-file", "token").returncode == 0
        assert user.run(*words, "--token-fd", "0", input=token).returncode == 0
    for words_of_it in (["--token-file", "nowhere"], ["--token-fd", "77"]):
        assert user.run(*words, *words_of_it).returncode == 2
    assert user.run(*words, "--token-fd", "0", "--token-file", "token").returncode == 2
    sick = user.run(*words, environment={"EFSS_TRANSFER_TOKEN": f"{token} x"})
    assert sick.returncode == 2
    assert token not in sick.stderr
