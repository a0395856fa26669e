"""`efss-transfer ls` and `efss-transfer check`, in a terminal and in a pipe."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from support import service_process
from support.cli_user import User, unused_url
from support.contract import complaints
from support.storages import Storage


@pytest.fixture
def folder(name: str, webdav: Storage) -> str:
    """A folder of `cloud` with a file and a folder."""
    webdav.fill(name, {"b ü.txt": bytes(2000), "a/c.txt": b"1"})
    return name


def test_ls_in_a_pipe_has_a_line_of_fields_for_each_entry(user: User, folder: str) -> None:
    done = user.run("ls", f"cloud:{folder}")
    assert (done.returncode, done.stderr) == (0, "")
    folders, files = (line.split("\t") for line in done.stdout.splitlines())
    assert (folders[0], folders[2]) == ("-", "a/")
    assert (files[0], files[2]) == ("2000", "b ü.txt")
    assert re.fullmatch(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", files[1])


def test_ls_in_a_terminal_is_a_table(user: User, folder: str) -> None:
    with user.in_terminal("ls", f"cloud:{folder}", TZ="UTC") as screen:
        assert screen.end() == 0
    folders, files = screen.text.splitlines()
    assert re.fullmatch(r" +-  2\d{3}-\d\d-\d\d \d\d:\d\d  a/", folders)
    assert re.fullmatch(r"2\.0 KiB  2\d{3}-\d\d-\d\d \d\d:\d\d  b ü\.txt", files)


def test_ls_as_json_is_the_listing_and_a_limit_is_told(user: User, folder: str) -> None:
    done = user.run("ls", f"cloud:{folder}", "--limit", "1", "--json")
    listing = json.loads(done.stdout)
    assert complaints("listing", listing) == []
    assert (done.returncode, len(listing["entries"]), listing["count"]) == (0, 1, 2)
    told = user.run("ls", f"cloud:{folder}", "--limit", "1")
    assert "1 of 2 entries are shown; --limit shows up to 10,000." in told.stderr


def test_ls_of_a_name_alone_lists_its_root(user: User, s3: Storage, name: str) -> None:
    s3.fill(f"bucket/{name}", {"x": b"1"})
    assert f"{name}/" in user.run("ls", "archive", "--limit", "10000").stdout


def test_ls_says_what_is_wrong_and_exits_as_copy_does(user: User, folder: str) -> None:
    missing = user.run("ls", f"cloud:{folder}/nothing")
    assert missing.returncode == 3
    assert missing.stderr.startswith(f"cloud:{folder}/nothing: source_not_found: The folder does")
    slip = user.run("ls", "clod:")
    assert slip.returncode == 7
    assert "'clod' is not in your endpoints file. Did you mean 'cloud'?" in slip.stderr.replace(
        "`", "'"
    )
    wrong = user.run("ls", "cloud:", environment={"CLOUD_PASSWORD": "canary-wrong"})
    assert wrong.returncode == 7
    assert "authentication_failed" in wrong.stderr
    assert "canary" not in wrong.stdout + wrong.stderr
    away = user.run("ls", "cloud:", "--url", unused_url())
    assert away.returncode == 5
    assert user.run("ls", "cloud:", "--json", "--url", unused_url()).returncode == 5


def test_check_in_a_pipe_has_plain_words_in_columns(user: User, folder: str) -> None:
    done = user.run("check", f"cloud:{folder}", "--write")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.rstrip() for line in lines[:4]] == [
        "ok  reached",
        "ok  signed in",
        "ok  may read",
        "ok  may write",
    ]
    assert "    server      webdav" in lines
    assert "✓" not in done.stdout


def test_check_in_a_terminal_has_marks_where_it_can(user: User, folder: str) -> None:
    with user.in_terminal("check", f"cloud:{folder}") as screen:
        assert screen.end() == 0
    assert screen.text.splitlines()[0] == "✓  reached"
    assert "-  may write" in screen.text
    with user.in_terminal(
        "check", f"cloud:{folder}", LANG="C", LC_ALL="C", PYTHONIOENCODING="ascii"
    ) as plain:
        assert plain.end() == 0
    assert plain.text.splitlines()[0] == "ok       reached"


def test_check_of_several_exits_with_1_if_one_has_failed(user: User, folder: str) -> None:
    done = user.run("check", "archive", f"cloud:{folder}/nothing")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines.index("archive") < lines.index(f"cloud:{folder}/nothing")
    (failed,) = [line for line in lines if line.startswith("failed")]
    assert "may read" in failed
    assert "source_not_found: The folder does not exist." in failed


def test_check_as_json_has_a_line_for_each_endpoint(user: User, folder: str) -> None:
    done = user.run("check", f"cloud:{folder}", "clod:", "--json")
    first, second = map(json.loads, done.stdout.splitlines())
    assert first.pop("endpoint") == f"cloud:{folder}"
    assert complaints("check", first) == []
    assert second.pop("endpoint") == "clod:"
    assert complaints("problem", second) == []
    assert done.returncode == 7


def test_looks_without_a_service_are_the_same(user: User, folder: str, tmp_path: Path) -> None:
    runtime = user.copy_in_process(tmp_path)
    del user.environment["EFSS_TRANSFER_URL"]
    assert user.run("ls", "cloud:").returncode == 2
    local = user.run("ls", f"cloud:{folder}", "--local")
    assert (local.returncode, "b ü.txt" in local.stdout) == (0, True)
    assert user.run("check", f"cloud:{folder}", "--write", "--local").returncode == 0
    missing = user.run("ls", f"cloud:{folder}/nothing", "--local")
    assert (missing.returncode, "source_not_found" in missing.stderr) == (3, True)
    service_process.wait_clean(runtime, 15)
