"""Adding to the endpoints file and removing from it, with the rest as a person wrote it."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.cli.endpoints.store import Store
from efss_transfer.cli.endpoints_file import InvalidEndpoints

SECRET = "canary-of-a-password"
OLD = """\
# Mine. [cloud]
[first]   # the old one
type = "sftp"
[first.parameters]
host = "sftp.example.org"   # no port
user = 'alice'

# Below is the archive.
[archive]
storage = "archive"
"""
ENTRY: dict[str, Any] = {
    "type": "webdav",
    "path": 'a "b" ü 😀',
    "parameters": {"url": "https://cloud.example.org/remote.php/dav/files/alice", "user": "alice"},
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def store(folder: Path, text: str | None = None, name: str = "endpoints.toml") -> Store:
    file = folder / "own" / name
    if text is not None:
        file.parent.mkdir()
        file.write_bytes(text.encode())
    return Store(file)


def test_first_endpoint_makes_file_and_secret_for_their_owner_alone(home: Path) -> None:
    own = store(home)
    made = own.add("cloud", ENTRY, {"pass": SECRET})
    assert made == [home / "own" / "secrets" / "cloud.pass"]
    assert made[0].read_text() == SECRET
    assert [file.stat().st_mode & 0o777 for file in (own.file, made[0])] == [0o600, 0o600]
    assert made[0].parent.stat().st_mode & 0o777 == 0o700
    assert SECRET not in own.file.read_text()
    parameters = {**ENTRY["parameters"], "pass": {"file": "~/own/secrets/cloud.pass"}}
    assert own.entries() == {"cloud": {**ENTRY, "parameters": parameters}}


@pytest.mark.parametrize("old", [OLD, OLD.rstrip("\n"), OLD.replace("\n", "\r\n"), "", "# mine\n"])
def test_what_is_added_and_removed_again_leaves_the_text_as_it_was(home: Path, old: str) -> None:
    own = store(home, old)
    own.file.chmod(0o640)
    own.add("cloud", ENTRY, {"pass": SECRET})
    added = own.file.read_bytes().decode()
    assert added.startswith(old)
    assert tomllib.loads(added)["cloud"]["path"] == ENTRY["path"]
    assert own.remove("cloud") == [home / "own" / "secrets" / "cloud.pass"]
    assert not list((home / "own" / "secrets").iterdir())
    assert own.file.read_bytes().decode().rstrip("\r\n") == old.rstrip("\r\n")
    assert own.file.stat().st_mode & 0o777 == 0o640


def test_removal_keeps_comments_and_order_of_the_others(home: Path) -> None:
    own = store(home, OLD)
    own.add("cloud.2", ENTRY, {})
    own.remove("first")
    assert own.file.read_text().startswith(
        '# Mine. [cloud]\n\n# Below is the archive.\n[archive]\nstorage = "archive"\n'
    )
    assert list(own.entries()) == ["archive", "cloud.2"]
    own.remove("cloud.2")
    assert list(own.entries()) == ["archive"]


@pytest.mark.parametrize(
    "text",
    [
        'cloud = {storage = "x"}\n[b]\nstorage = "b"\n',
        'cloud.storage = "x"\n',
        '[b]\nstorage = "b"\npath = """\n[cloud]\n"""\n[cloud]\nstorage = "x"\n',
    ],
)
def test_form_that_cannot_be_cut_is_left_alone(home: Path, text: str) -> None:
    own = store(home, text)
    with pytest.raises(InvalidEndpoints, match="Remove 'cloud' in an editor"):
        own.remove("cloud")
    assert own.file.read_text() == text


def test_taken_name_and_leftover_secret_are_refused(home: Path) -> None:
    own = store(home, OLD)
    with pytest.raises(InvalidEndpoints, match="has an endpoint 'first' already"):
        own.add("first", ENTRY, {"pass": SECRET})
    left = home / "own" / "secrets" / "cloud.pass"
    left.parent.mkdir()
    left.write_text("older")
    with pytest.raises(InvalidEndpoints, match=r"~/own/secrets/cloud\.pass exists already"):
        own.add("cloud", ENTRY, {"user": "a", "pass": SECRET})
    assert (own.file.read_text(), left.read_text()) == (OLD, "older")
    assert list(left.parent.iterdir()) == [left]


def test_secret_of_a_persons_own_file_stays(home: Path) -> None:
    mine = home / "mine"
    mine.write_text(SECRET)
    own = store(home, OLD)
    entry = {"type": "webdav", "parameters": {"url": "https://x", "pass": {"file": "~/mine"}}}
    own.add("cloud", entry, {})
    assert own.remove("cloud") == []
    assert mine.read_text() == SECRET


def test_json_file_and_a_link_to_a_file(home: Path) -> None:
    own = store(home, json.dumps({"first": {"storage": "x"}}), "e.json")
    own.add("cloud", ENTRY, {"pass": SECRET})
    assert list(json.loads(own.file.read_text())) == ["first", "cloud"]
    link = home / "linked.json"
    link.symlink_to(own.file)
    Store(link).remove("first")
    assert link.is_symlink()
    assert list(json.loads(own.file.read_text())) == ["cloud"]
    own.remove("cloud")
    assert own.entries() == {}


def test_unwritable_folder_leaves_no_secret(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device", "there")

    own = store(home, OLD)
    monkeypatch.setattr("tempfile.mkstemp", full)
    with pytest.raises(InvalidEndpoints, match="there: No space left on device"):
        own.add("cloud", ENTRY, {"pass": SECRET})
    assert not list((home / "own" / "secrets").iterdir())
    assert own.file.read_text() == OLD
