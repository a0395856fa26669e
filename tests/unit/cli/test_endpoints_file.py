"""The user's endpoints: what NAME:PATH means, and what is refused of the file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.cli import endpoints_file
from efss_transfer.cli.endpoints_file import InvalidEndpoints, UserEndpoints

SECRET = "canary-of-a-password"
CLOUD = """
[cloud]
type = "webdav"
path = "Measurements"
[cloud.parameters]
url = "https://cloud.example.org/remote.php/dav/files/alice"
vendor = "nextcloud"
user = "alice"
pass = {env = "CLOUD_PASSWORD"}
"""


def never(_: str) -> str:
    raise AssertionError("nobody was to be asked")


def known(folder: Path, text: str, name: str = "e.toml", mode: int = 0o600) -> UserEndpoints:
    file = folder / name
    file.write_text(text)
    file.chmod(mode)
    return endpoints_file.read(file, never)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("cloud:", "Measurements"),
        ("cloud:2026", "Measurements/2026"),
        ("cloud:/2026/a.h5", "Measurements/2026/a.h5"),
        ("cloud:a:b", "Measurements/a:b"),
    ],
)
def test_name_in_the_file_gives_its_type_parameters_and_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, path: str
) -> None:
    monkeypatch.setenv("CLOUD_PASSWORD", SECRET)
    # Who only refers to secrets may let others read the file.
    found = known(tmp_path, CLOUD, mode=0o644)
    assert found.names() == ["cloud"]
    assert found.endpoint(text) == {
        "type": "webdav",
        "parameters": {
            "url": "https://cloud.example.org/remote.php/dav/files/alice",
            "vendor": "nextcloud",
            "user": "alice",
            "pass": SECRET,
        },
        "path": path,
    }


def test_name_outside_the_file_is_a_storage_of_the_site(tmp_path: Path) -> None:
    found = known(tmp_path, "")
    assert found.endpoint("archive:2026") == {"storage": "archive", "path": "2026"}


def test_storage_of_the_site_takes_the_users_credentials(tmp_path: Path) -> None:
    document = {"mine": {"storage": "archive", "path": "home", "parameters": {"user": "alice"}}}
    found = known(tmp_path, json.dumps(document), "e.json", 0o644)
    assert found.endpoint("mine:x") == {
        "storage": "archive",
        "path": "home/x",
        "parameters": {"user": "alice"},
    }
    assert known(tmp_path, '[a]\nstorage = "b"').endpoint("a:") == {"storage": "b", "path": ""}


@pytest.mark.parametrize("text", ["cloud", "", ":x", "/srv/x", "./a:b", "a b:c", "é:x"])
def test_text_without_name_and_path_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidEndpoints, match="NAME:PATH"):
        known(tmp_path, "").endpoint(text)


def test_references_are_resolved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    read, write = os.pipe()
    os.write(write, SECRET.encode())
    os.close(write)
    asked: list[str] = []

    def ask(text: str) -> str:
        asked.append(text)
        return SECRET

    references: dict[str, Any] = {
        "f": {"file": "~/secret"},
        "d": {"fd": read},
        "p": {"prompt": "Password"},
    }
    file = tmp_path / "e.json"
    file.write_text(
        json.dumps({n: {"type": "ftp", "parameters": {"pass": it}} for n, it in references.items()})
    )
    found = endpoints_file.read(file, ask)
    for name in references:
        # Twice: a copy may go from a place to another of the same name.
        for _ in range(2):
            assert found.endpoint(f"{name}:x")["parameters"] == {"pass": SECRET}
    os.close(read)
    assert asked == ["Password"]


@pytest.mark.parametrize(
    "reference", [{"env": "NOT_THERE"}, {"file": "/nowhere/at/all"}, {"fd": 999}]
)
def test_missing_secret_is_reported_with_its_place(
    tmp_path: Path, reference: dict[str, Any]
) -> None:
    document = {"a": {"type": "ftp", "parameters": {"pass": reference}}}
    found = known(tmp_path, json.dumps(document), "e.json")
    with pytest.raises(InvalidEndpoints, match=r"a\.parameters\.pass: "):
        found.endpoint("a:")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_secret_in_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    text = f'[a]\ntype = "ftp"\n[a.parameters]\nhost = "x"\npass = "{SECRET}"\n'
    assert known(tmp_path, text).endpoint("a:")["parameters"]["pass"] == SECRET
    with pytest.raises(InvalidEndpoints, match=r"a\.parameters\.pass.*chmod 600") as refused:
        known(tmp_path, text, mode=mode)
    assert SECRET not in str(refused.value)
    # Of a storage of the site's nobody knows here what type it is.
    with pytest.raises(InvalidEndpoints, match="chmod 600"):
        known(tmp_path, text.replace('type = "ftp"', 'storage = "b"'), mode=mode)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a", "not TOML: see end"),
        ("[a]\nb = ?", "not TOML: see line 2, column 5"),
        (f'[a]\npass = "{SECRET}', "not TOML"),
        ("a = 1", "a: must be a table"),
        ("[a]", "must have either `type` or `storage`"),
        ('[a]\ntype = "ftp"\nstorage = "b"', "must have either `type` or `storage`"),
        ('[a]\ntype = "local"', "unknown storage type"),
        ("[a]\ntype = []", "unknown storage type"),
        ('[a]\ntype = "ftp"\nurl = "x"', "unknown member 'url'"),
        ('[a]\ntype = "ftp"\npath = 1', "a.path: must be a string"),
        ('[a]\ntype = "ftp"\nparameters = 1', "must be a table"),
        ('[a]\ntype = "ftp"\nparameters = {pass = {cmd = "x"}}', 'must be {env = "NAME"}'),
        (
            '[a]\ntype = "ftp"\nparameters = {pass = {env = "x", file = "y"}}',
            'must be {env = "NAME"}',
        ),
        ('[a]\ntype = "ftp"\nparameters = {pass = {env = 1}}', "`env` must be a string"),
        ('[a]\ntype = "ftp"\nparameters = {pass = {fd = "x"}}', "`fd` must be the number"),
        ('[a]\ntype = "ftp"\nparameters = {pass = {fd = true}}', "`fd` must be the number"),
        ('[a]\ntype = "ftp"\nparameters = {pass = {fd = 99999999999}}', "`fd` must be the number"),
        ('[a]\ntype = "ftp"\nparameters = {pass = ["x"]}', "must be a string, a number"),
        ('["a b"]\ntype = "ftp"', "letters, digits"),
    ],
)
def test_invalid_toml_is_reported_without_its_values(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidEndpoints) as refused:
        known(tmp_path, text)
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "line 1"),
        (b"[]", "must contain one table"),
        (b"\xff", "UTF-8"),
        (b"[" * 10**5, "deeply"),
    ],
)
def test_invalid_json_is_reported(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "e.json").write_bytes(content)
    with pytest.raises(InvalidEndpoints, match=said):
        endpoints_file.read(tmp_path / "e.json", never)


def test_only_the_default_file_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidEndpoints, match="No such file"):
        endpoints_file.read(tmp_path / "nowhere", never)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert endpoints_file.read(None, never).names() == []


def test_command_that_prints_the_secret_is_run_without_a_shell(tmp_path: Path) -> None:
    text = CLOUD.replace('{env = "CLOUD_PASSWORD"}', """{command = "printf '%s\\n' 'a $HOME'"}""")
    found = known(tmp_path, text, mode=0o644)
    assert found.endpoint("cloud:")["parameters"]["pass"] == "a $HOME"


@pytest.mark.parametrize("command", ["false", "nowhere-at-all", "true", "'"])
def test_command_that_fails_is_named(tmp_path: Path, command: str) -> None:
    text = CLOUD.replace('{env = "CLOUD_PASSWORD"}', f'{{command = "{command}"}}')
    with pytest.raises(InvalidEndpoints, match="failed, or printed nothing"):
        known(tmp_path, text).endpoint("cloud:")


def test_command_in_a_file_that_others_can_change_is_refused(tmp_path: Path) -> None:
    text = CLOUD.replace('{env = "CLOUD_PASSWORD"}', '{command = "true"}')
    with pytest.raises(InvalidEndpoints, match="chmod go-w"):
        known(tmp_path, text, mode=0o664)
