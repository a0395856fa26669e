"""`efss-transfer endpoints`, as far as it needs no terminal: what is refused, and how."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from efss_transfer.cli import main

CLOUD = """\
[cloud]
type = "webdav"
[cloud.parameters]
url = "http://127.0.0.1:1"
user = "alice"
pass = "canary-of-a-password"
"""


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The endpoints file of somebody who has one."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    made = tmp_path / ".config" / "efss-transfer" / "endpoints.toml"
    made.parent.mkdir(parents=True)
    made.write_text(CLOUD)
    made.chmod(0o600)
    return made


def run(*words: str, text: str | None = None) -> Result:
    told = CliRunner().invoke(main.main, ["endpoints", *words], input=text)
    assert "Traceback" not in told.output
    assert "canary" not in told.output
    return told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cloud", "--kind", "ftp"], "has an endpoint 'cloud' already"),
        (["a:b", "--kind", "ftp"], "NAME must begin with a letter or a digit"),
        (["new"], "No terminal to ask in: give --kind: nextcloud,"),
        (["new", "--kind", "nextclod"], "Did you mean `nextcloud`?"),
        (["new", "--kind", "nextcloud"], "give --address URL, --user NAME, --secret-file pass"),
        (["new", "--kind", "nextcloud", "--set", "pass=canary"], "pass is a secret"),
        (["new", "--kind", "ftp", "--secret-file", "nowhere"], "nowhere cannot be read"),
        (["new", "--kind", "ftp", "--address", "x", "--user", "a", "--set", "port=no"], "port: "),
    ],
)
def test_what_cannot_be_added_is_named_and_changes_nothing(
    file: Path, words: list[str], said: str
) -> None:
    done = run("add", *words)
    assert (done.exit_code, said in done.stderr) == (2, True), done.stderr
    assert (file.read_text(), list(file.parent.iterdir())) == (CLOUD, [file])


def test_whole_that_does_not_fit_is_named_before_anything_is_written(file: Path) -> None:
    words = ["--kind", "s3", "--address", "x", "--secret-env", "access_key_id=X"]
    done = run("add", "new", *words, "--set", "sse_customer_algorithm=AES256", text="")
    assert "give --secret-file secret_access_key=FILE" in done.stderr
    assert file.read_text() == CLOUD


def test_removal_needs_a_terminal_or_yes_and_a_slip_is_answered(file: Path) -> None:
    assert "Did you mean `cloud`?" in run("remove", "clod", "--yes").stderr
    assert "give --yes" in run("remove", "cloud").stderr
    assert file.read_text() == CLOUD
    done = run("remove", "cloud", "--yes")
    assert done.stdout == "Removed cloud: ~/.config/efss-transfer/endpoints.toml.\n"
    assert file.read_text() == ""


def test_no_endpoints_say_how_to_add_one(file: Path) -> None:
    file.unlink()
    done = run("list")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "No endpoints yet: efss-transfer endpoints add NAME" in done.stderr
    assert run("list", "--json").exit_code == 0


def test_broken_file_is_not_touched(file: Path) -> None:
    file.write_text("[cloud\n")
    for words in (["list"], ["add", "x", "--kind", "ftp"], ["remove", "x", "--yes"]):
        assert "is not TOML: see line 1" in run(*words).stderr
    assert file.read_text() == "[cloud\n"
