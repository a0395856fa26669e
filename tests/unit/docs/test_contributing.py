"""CONTRIBUTING.md names files and commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
PLACES = (
    ROOT,
    ROOT / "functions" / "efss_transfer",
    ROOT / "functions/efss_transfer/engines/rclone/log",
)


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"`([\w./-]+\.(?:py|json|md|toml))`", TEXT)))
)
def test_a_file_that_it_names_exists(name: str) -> None:
    assert any((place / name).is_file() for place in PLACES)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(scripts/[\w-]+)`", TEXT))))
def test_a_command_that_it_names_can_be_run(name: str) -> None:
    assert (ROOT / name).stat().st_mode & 0o111


def test_every_command_is_in_it() -> None:
    commands = {
        f"scripts/{file.name}"
        for file in (ROOT / "scripts").iterdir()
        if file.is_file() and not file.suffix
    }
    assert commands - set(re.findall(r"scripts/[\w-]+", TEXT)) <= {"scripts/run"}


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("the password policy", "site/policy.py"),
        ("PROPFIND's error become a code", "engines/rclone/log/error_codes.py"),
        ("the AWS Lambda handler", "runtimes/aws/handler.py"),
    ],
)
def test_a_newcomers_question_has_its_answer_beside_it(question: str, answer: str) -> None:
    (line,) = [item for item in TEXT.split("\n- ") if question in " ".join(item.split())]
    assert answer in line
