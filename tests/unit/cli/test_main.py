"""The command, as far as it needs no service: uses, mistakes, help, completion."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from efss_transfer.cli import main
from support import contract

CLOUD = """
[cloud]
type = "webdav"
[cloud.parameters]
url = "http://127.0.0.1:1"
user = "alice"
pass = "canary-of-a-password"
"""


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The endpoints file of somebody who has one, and no service that is there."""
    for name in os.environ:
        if name.startswith("EFSS_TRANSFER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("EFSS_TRANSFER_URL", "http://127.0.0.1:1")
    made = tmp_path / "efss-transfer" / "endpoints.toml"
    made.parent.mkdir()
    made.write_text(CLOUD)
    made.chmod(0o600)
    return made


def run(*words: str | Path, text: str | None = None) -> Result:
    """The command, in this process."""
    told = CliRunner().invoke(main.main, list(map(str, words)), input=text)
    assert "Traceback" not in told.output
    return told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["copy", "cloud", "archive:x"], "NAME:PATH"),
        (["copy", "/local/path", "archive:x"], "NAME:PATH"),
        (["copy", "cloud:x"], "Missing argument"),
        (["copy", "cloud:x", "archive:x", "--max-size", "much"], "must be a size"),
        (["copy", "cloud:x", "archive:x", "--files-from", "nowhere"], "nowhere cannot be read"),
        (
            ["copy", "cloud:x", "archive:x", "--url", "http://u:secret-of-mine@x"],
            "must not contain a user",
        ),
        (["copy", "cloud:x", "archive:x", "--url", "x"], "must start with https"),
        (
            ["copy", "cloud:x", "archive:x", "--local", "--url", "http://x"],
            "either --url or --local",
        ),
        (["copy", "--endpoints", "nowhere", "cloud:x", "archive:x"], "cannot be read"),
        (["run", "nowhere.json"], "cannot be read"),
        (["run", "."], "cannot be read"),
        (["fly"], "No such command"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_why(words: list[str], said: str) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "secret-of-mine" not in done.stderr


def test_missing_service_is_reported_before_a_prompt(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a password is asked for."""
    file.write_text(CLOUD.replace('"canary-of-a-password"', '{prompt = "Password"}'))
    monkeypatch.delenv("EFSS_TRANSFER_URL")
    done = run("copy", "cloud:x", "archive:x")
    assert done.exit_code == 2
    assert "No service given. Give --url" in done.stderr
    assert "Password" not in done.output


def test_invalid_endpoints_file_exits_with_2(file: Path) -> None:
    file.chmod(0o644)
    done = run("copy", "cloud:x", "archive:x")
    assert done.exit_code == 2
    assert "chmod 600" in done.stderr
    file.chmod(0o600)
    file.write_text("[cloud\ntype = canary\n")
    done = run("copy", "cloud:x", "archive:x")
    assert done.exit_code == 2
    assert "is not TOML: see line 1" in done.stderr
    assert "canary" not in done.stderr


GOOD = contract.EXAMPLES / "valid" / "nextcloud-to-s3.json"


def test_validate_accepts_a_valid_request() -> None:
    done = run("validate", GOOD)
    assert (done.exit_code, done.stdout) == (0, f"{GOOD}: valid\n")
    assert json.loads(run("validate", "--json", GOOD).stdout) == {"valid": True, "errors": []}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "line 1, column 2"),
        ("[]", "(entire request): Must be an object."),
        (json.dumps({**json.loads(GOOD.read_text()), "options": {"attempts": 99}}), "/attempts"),
        (
            '{"source": {"storage": "a", "path": ""}, "destination": {"storage": "a", "path": ""}}',
            "[distinct]",
        ),
        ('{"source": {"storage": "a"}}', "Missing: destination."),
    ],
)
def test_validate_reports_each_violation(text: str, said: str) -> None:
    done = run("validate", "-", text=text)
    assert done.exit_code == 1
    assert said in done.stderr
    told = json.loads(run("validate", "--json", "-", text=text).stdout)
    assert told["valid"] is False
    assert told["detail"]


@pytest.mark.parametrize("example", ["valid", "invalid"])
def test_validate_agrees_with_every_example(example: str) -> None:
    for file in sorted((contract.EXAMPLES / example).glob("*.json")):
        document = json.loads(file.read_text("utf-8"))
        request = document["request"] if example == "invalid" else document
        told = run("validate", "--json", "-", text=json.dumps(request))
        assert told.exit_code == (0 if example == "valid" else 1), (file, told.output)


def test_schema_prints_each_schema() -> None:
    for each in contract.NAMES:
        assert json.loads(run("schema", each).stdout) == contract.schema(each)
    assert json.loads(run("schema").stdout)["title"] == "Transfer request"
    assert run("schema", "nothing").exit_code == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    done = run("completion", shell)
    assert done.exit_code == 0, done.stderr
    assert "_EFSS_TRANSFER_COMPLETE" in done.stdout


def test_shell_completes_commands_endpoints_and_choices(file: Path) -> None:
    def completed(*words: str) -> list[str]:
        asking = {
            "_EFSS_TRANSFER_COMPLETE": "bash_complete",
            "COMP_WORDS": shlex.join(("efss-transfer", *words)),
            "COMP_CWORD": str(len(words)),
        }
        told = CliRunner().invoke(main.main, [], env=asking).stdout.splitlines()
        return [line.partition(",")[2] for line in told if line]

    assert set(completed("")) >= {"copy", "run", "validate", "schema", "site", "serve"}
    assert completed("copy", "cl") == ["cloud:"]
    assert completed("copy", "cloud:x", "c") == ["cloud:"]
    assert completed("copy", "x") == []
    assert completed("copy", "--overwrite", "ne") == ["newer", "never"]
    file.write_text("[")
    assert completed("copy", "cl") == []


def test_help_does_not_import_heavy_libraries() -> None:
    program = (
        "import sys\nfrom efss_transfer.cli import main as cli\n"
        "try:\n    cli.main(['copy', '--help'])\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = set(done.stderr.split())
    assert "efss_transfer.cli.commands.copy" in loaded
    for heavy in ("requests", "rich", "jsonschema", "flask", "tenacity", "boto3", "jwt", "urllib3"):
        assert heavy not in loaded


def test_defect_is_reported_in_one_line_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("canary-of-a-password")

    monkeypatch.setattr("efss_transfer.cli.commands.copy.transfer", broken)
    done = run("copy", "cloud:x", "archive:x")
    assert done.exit_code == 1
    assert re.fullmatch(
        r"efss-transfer: internal error \(RuntimeError in test_main.py:\d+\); "
        r"please report this bug\.\n",
        done.stderr,
    )


def commands(group: click.Group, *before: str) -> Iterator[tuple[str, ...]]:
    """The words that name every command."""
    yield before
    for called, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *before, called)
        else:
            yield (*before, called)


@pytest.mark.parametrize("words", [" ".join(words) for words in commands(main.main)])
def test_every_command_has_help(words: str) -> None:
    done = run(*words.split(), "--help")
    assert done.exit_code == 0
    assert "Usage: " in done.stdout
    assert "\\b" not in done.stdout
