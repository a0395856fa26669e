"""`efss-transfer endpoints`: a first copy without a line of TOML, and the list of endpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import faulty_webdav
from support.cli_user import User
from support.faulty_webdav import Faulty
from support.service_process import Function
from support.storages import Storage
from support.terminal import CTRL_C, Terminal

CONFIG = Path(".config/efss-transfer")


@pytest.fixture
def newcomer(tmp_path: Path, function: Function) -> User:
    """Somebody without an endpoints file."""
    return User.at(tmp_path / "home", EFSS_TRANSFER_URL=function.url)


@pytest.fixture(scope="module")
def cloud() -> Iterator[Faulty]:
    with faulty_webdav.serving() as dav:
        yield dav


def answer(screen: Terminal, *answers: tuple[str, str]) -> None:
    """Answer each question when it has been asked; its end says that the echo is off by then."""
    for question, text in answers:
        screen.wait_for(f"{question}: ")
        screen.press(text.encode() + b"\n")


def test_newcomer_adds_two_endpoints_tests_them_and_copies(
    newcomer: User, cloud: Faulty, s3: Storage, name: str
) -> None:
    hashes = cloud.nextcloud.fill(name, {"a.h5": bytes(5000), "raw/b.txt": b"b"})
    password = cloud.nextcloud.parameters["pass"]
    with newcomer.in_terminal("endpoints", "add", "cloud", columns=200) as screen:
        answer(
            screen,
            ("Kind of storage: a number, or a type such as ftp", "nextclout"),
            ("Kind of storage: a number, or a type such as ftp", "1"),
            ("Address, as your browser shows it", f"{cloud.url}/index.php/apps/files?dir=/x"),
            ("User name", "alice"),
            ("App password (not shown)", password),
            ("Folder to begin in (empty for all)", ""),
        )
        assert screen.end() == 0
    assert "Did you mean `nextcloud`?" in screen.text
    page = f"{cloud.url}/index.php/settings/user/security"
    assert f"Make an app password at {page}" in screen.text
    assert "Next: efss-transfer endpoints test cloud\n" in screen.text
    assert password not in screen.raw
    keys = s3.parameters
    with newcomer.in_terminal("endpoints", "add", "archive", "--kind", "s3", columns=200) as screen:
        answer(
            screen,
            (
                "Address of the service, such as https://s3.example.org",
                f"{keys['endpoint']}/bucket",
            ),
            ("Access key ID (empty for public data) (not shown)", keys["access_key_id"]),
            ("Secret access key (not shown)", keys["secret_access_key"]),
            ("Bucket, or bucket/folder (empty for all buckets) [bucket]", ""),
        )
        assert screen.end() == 0
    assert not any(keys[it] in screen.raw for it in ("access_key_id", "secret_access_key"))
    for file in (newcomer.home / CONFIG).rglob("*"):
        assert file.stat().st_mode & 0o777 == (0o700 if file.is_dir() else 0o600), file
    assert password not in (newcomer.home / CONFIG / "endpoints.toml").read_text()
    tested = newcomer.run("endpoints", "test", "cloud", "archive", "--write")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    copied = newcomer.run("copy", f"cloud:{name}", f"archive:{name}")
    assert copied.returncode == 0, copied.stderr
    assert s3.hashes(f"bucket/{name}") == hashes


def test_list_has_addresses_and_sources_but_no_secret(user: User, webdav: Storage) -> None:
    done = user.run("endpoints", "list")
    header, cloud, archive = done.stdout.splitlines()
    assert header.split() == ["NAME", "TYPE", "ADDRESS", "SECRETS"]
    assert webdav.parameters["url"] in cloud
    assert cloud.endswith("pass: env CLOUD_PASSWORD")
    assert "secret_access_key: in the file" in archive
    told = json.loads(user.run("endpoints", "list", "--json").stdout)
    assert [one["name"] for one in told["endpoints"]] == ["cloud", "archive"]
    assert "canary" not in done.stdout + json.dumps(told)


def test_options_and_a_pipe_add_without_questions(
    newcomer: User, storages: dict[str, Storage], name: str
) -> None:
    sftp = storages["sftp"]
    sftp.fill(name, {"a": b"a"})
    where = f"{sftp.parameters['host']}:{sftp.parameters['port']}"
    ssh = newcomer.home / ".ssh"
    ssh.mkdir()
    (ssh / "known_hosts").write_text(f"[127.0.0.1]:{sftp.parameters['port']} ssh-ed25519 AAAA\n")
    words = ["--kind", "sftp", "--address", f"alice@{where}", "--secret-file", "-"]
    more = ["--set", "disable_hashcheck=true", "--folder", name]
    secret = f"{sftp.parameters['pass']}\n"
    added = newcomer.run("endpoints", "add", "box", *words, *more, input=secret)
    assert (added.returncode, added.stderr) == (0, "")
    # ssh knows another server there: nobody is to get the password.
    assert newcomer.run("endpoints", "test", "box").returncode != 0
    removed = newcomer.run("endpoints", "remove", "box", "--yes")
    assert removed.stdout == (
        "Removed box: ~/.config/efss-transfer/endpoints.toml, "
        "~/.config/efss-transfer/secrets/box.pass.\n"
    )
    key = " ".join(sftp.details["host_key"].split()[:2])
    (ssh / "known_hosts").write_text(f"[127.0.0.1]:{sftp.parameters['port']} {key}\n")
    assert newcomer.run("endpoints", "add", "box", *words, *more, input=secret).returncode == 0
    listed = newcomer.run("ls", "box")
    assert (listed.returncode, listed.stdout.split("\t")[-1]) == (0, "a\n"), listed.stderr


def test_secret_may_come_from_a_command_each_time(user: User, webdav: Storage) -> None:
    words = ["--kind", "webdav", "--address", webdav.parameters["url"], "--user", "alice"]
    (user.home / "kept").write_text(webdav.parameters["pass"] + "\n")
    added = user.run("endpoints", "add", "dav", *words, "--secret-command", "cat kept")
    assert added.returncode == 0, added.stderr
    assert user.run("endpoints", "test", "dav").returncode == 0
    (user.home / "kept").unlink()
    failed = user.run("ls", "dav:")
    assert failed.returncode == 2
    assert "dav.parameters.pass: command 'cat kept' failed, or printed nothing." in failed.stderr


def test_removal_asks(user: User) -> None:
    for keys, code in ((CTRL_C, 130), (b"y\n", 0)):
        with user.in_terminal("endpoints", "remove", "cloud") as screen:
            screen.wait_for("Remove cloud from ~/.config/efss-transfer/endpoints.toml? [y/N]: ")
            screen.press(keys)
            assert screen.end() == code
    assert [
        one["name"]
        for one in json.loads(user.run("endpoints", "list", "--json").stdout)["endpoints"]
    ] == ["archive"]
