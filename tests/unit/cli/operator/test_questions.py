"""Storages that are given as options: as in a site file, but with secrets that are read now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from efss_transfer.cli.operator.questions import storage_of_option

URL = "https://cloud.example.org/remote.php/webdav"


def option(**document: Any) -> str:
    return "cloud=" + json.dumps({"type": "webdav", **document})


def test_secrets_are_read_and_replaced_by_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("hush\n")
    monkeypatch.setenv("A_SECRET", "hush too")
    reference = {"file": str(tmp_path / "secret")}
    made = storage_of_option(option(parameters={"url": URL, "user": "a", "pass": reference}))
    assert made.secrets == {"pass": "hush"}
    kept = made.to_json()
    assert kept["parameters"] == {
        "url": URL,
        "user": "a",
        "pass": {"file": "/run/credentials/efss-transfer.service/cloud.pass"},
    }
    assert "hush" not in repr(made)
    token = {"url": URL, "bearer_token": {"env": "A_SECRET"}}
    assert storage_of_option(option(parameters=token)).secrets == {"bearer_token": "hush too"}


def test_secret_that_is_left_out_is_still_to_come() -> None:
    made = storage_of_option(option(parameters={"url": URL, "user": "a"}))
    assert made.secrets == {"pass": ""}
    callers = option(parameters={"url": URL}, caller_parameters=["user", "pass"], root="x")
    made = storage_of_option(callers)
    assert made.secrets == {}
    assert made.to_json()["caller_parameters"] == ["user", "pass"]
    assert made.to_json()["root"] == "x"


@pytest.mark.parametrize(
    "text",
    [
        *("", "cloud", "cloud=", "cloud={", "cloud=[]", 'cloud={"parameters": {}}'),
        *(
            'a/b={"type": "webdav"}',
            'cloud={"type": "local"}',
            'cloud={"type": "s3", "parameters": 1}',
        ),
        option(parameters={"url": URL, "pass": "canary"}),
        option(parameters={"url": URL, "pass": {"env": "NOT_THERE_AT_ALL"}}),
        option(parameters={"url": URL, "pass": {"file": "/nowhere/at/all"}}),
        option(parameters={"url": URL, "pass": {}}),
    ],
)
def test_other_option_is_refused_without_its_secret(text: str) -> None:
    with pytest.raises(click.BadParameter) as refused:
        storage_of_option(text)
    assert "canary" not in refused.value.message
