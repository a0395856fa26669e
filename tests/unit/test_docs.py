"""What the README says is so."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from efss_transfer import request
from efss_transfer.errors import CODES
from efss_transfer.schemas import schema
from efss_transfer.settings import Settings
from servers import ROOT

README = (ROOT / "README.md").read_text("utf-8")


def example(name: str) -> Any:
    found = re.search(rf"<!-- {name} -->\n```json\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_the_request_fits_the_schema() -> None:
    request.parse(json.dumps(example("request.json")).encode())


def test_the_result_fits_the_schema() -> None:
    Draft202012Validator(schema("result")).validate(example("result.json"))


def test_every_setting_stands_in_the_table_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `EFSS_TRANSFER_(\w+)` \| ([^|]*) \|", README, re.MULTILINE))
    defaults = Settings.read({"THREADS": "64"})
    assert set(rows) == {name.upper() for name in Settings.__dataclass_fields__}
    for name, shown in rows.items():
        value = getattr(defaults, name.lower())
        if isinstance(value, float):
            value = int(value)
        expected = "found" if value is None else str(value)
        assert shown.strip().strip("`") == expected, name


def test_every_code_and_its_status_stand_in_the_table() -> None:
    shown = {
        code: {int(status) for status in re.findall(r"\d{3}", statuses)}
        for statuses, codes in re.findall(r"^\| ([\d, ]+[^|]*) \| (.*) \|$", README, re.MULTILINE)
        for code in re.findall(r"`(\w+)`", codes)
    }
    # Whoever hung up reads no answer.
    assert set(shown) == set(CODES) - {"cancelled"}
    for code, statuses in shown.items():
        assert CODES[code].status in statuses


@pytest.mark.parametrize("name", ["demo", "test", "run", "check", "bench", "setup", "lock"])
def test_the_scripts_that_are_named_are_there(name: str) -> None:
    assert (ROOT / "scripts" / name).stat().st_mode & 0o111


def test_the_two_commands_are_the_first_thing() -> None:
    assert re.findall(r"^    (scripts/\w+)", README, re.MULTILINE)[:2] == [
        "scripts/demo",
        "scripts/test",
    ]
