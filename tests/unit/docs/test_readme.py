"""What the README says is so."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from efss_transfer.cli import endpoints_file, exit_codes
from efss_transfer.config.settings import Settings
from efss_transfer.contract import request_parser
from efss_transfer.contract.schemas import schema
from efss_transfer.contract.validation import violations
from efss_transfer.model.errors import CODES
from support.storages import ROOT

README = (ROOT / "README.md").read_text("utf-8")


def example(name: str) -> Any:
    found = re.search(rf"<!-- {name} -->\n```json\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_the_request_fits_the_schema() -> None:
    request_parser.parse(json.dumps(example("request.json")).encode())


def test_the_options_fit_the_schema_and_are_all_of_them() -> None:
    shown = example("options.json")
    request_parser.parse(json.dumps({**example("request.json"), **shown}).encode())
    known = schema("request")["properties"]["options"]["properties"]
    assert shown["options"].keys() == known.keys()
    told = README.replace("`", "")
    for name in ("same", "older", "exists", "dry_run"):
        assert name in told


def test_the_plan_fits_the_schema_and_is_what_is_reckoned() -> None:
    plan, given = example("plan.json"), example("reckoning.json")
    assert violations("plan", plan) == ([], 0)
    asked = {**example("request.json"), **given}
    _, reckoning = request_parser.parse_plan(json.dumps(asked).encode())
    assert violations("plan-request", asked) == ([], 0)
    per_shard = plan["seconds"]["look"] + 4000 / plan["shards"]["count"]
    assert plan["shards"]["seconds"] == round(per_shard, 3) <= 0.7 * plan["seconds"]["limit"]
    assert reckoning.seconds == plan["seconds"]["limit"]


def test_the_result_fits_the_schema() -> None:
    Draft202012Validator(schema("result")).validate(example("result.json"))


def test_the_endpoints_file_can_be_read(tmp_path: Path) -> None:
    found = re.search(r"<!-- endpoints.toml -->\n```toml\n(.*?)```", README, re.DOTALL)
    assert found is not None
    (tmp_path / "endpoints.toml").write_text(found[1])
    known = endpoints_file.read(tmp_path / "endpoints.toml", lambda text: f"answer to {text}")
    assert known.names() == ["archive", "cloud"]
    parameters = known.endpoint("cloud:x")["parameters"]
    assert parameters["pass"] == "answer to App password of alice"


def test_every_exit_code_stands_in_the_table() -> None:
    table = README.partition("| exit code | meaning |")[2].partition("\n\n")[0]
    shown = {
        int(code)
        for row in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)
        for code in row.split(",")
    }
    known = {value for name, value in vars(exit_codes).items() if name.isupper() and name[0] != "_"}
    assert shown == known | {130, 143}


def test_every_setting_stands_in_the_table_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `EFSS_TRANSFER_(\w+)` \| ([^|]*) \|", README, re.MULTILINE))
    defaults = Settings.read({"THREADS": "64"})
    assert set(rows) == {name.upper() for name in Settings.__dataclass_fields__}
    for name, shown in rows.items():
        value = getattr(defaults, name.lower())
        if isinstance(value, float | bool):
            value = int(value)
        expected = {"rclone": "found"}.get(name.lower(), "none") if value is None else str(value)
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


def test_the_site_fits_the_schema() -> None:
    assert violations("site", example("site.json")) == ([], 0)


def test_the_storages_and_the_options_are_counted_as_they_are() -> None:
    types = schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"]
    listed = re.search(r"### Storages\n\n(.*?);", README, re.DOTALL)
    assert listed is not None
    assert re.sub(r"\s+", " ", listed[1]).split(", ") == types
    named = re.search(r"\[(\d+) more\]\(#storages\)", README)
    assert named is not None
    assert int(named[1]) == len(types) - 5
    decided = json.loads(
        (ROOT / "functions/efss_transfer/engines/rclone/rc/options.json").read_text("utf-8")
    )
    counts = Counter(
        option["decision"]
        for backend in decided["backends"].values()
        for option in backend["options"].values()
    )
    told = re.sub(r"\s+", " ", README)
    assert f"{counts['allow']} are allowed and {counts['refuse']} refused" in told
    assert f"{len(types)} types of storage" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize(
    "name", ["demo", "test", "run", "check", "bench", "setup", "lock", "build-layer"]
)
def test_the_scripts_that_are_named_are_there(name: str) -> None:
    assert (ROOT / "scripts" / name).stat().st_mode & 0o111


def test_the_two_commands_are_the_first_thing() -> None:
    assert re.findall(r"^    (scripts/\w+)", README, re.MULTILINE)[:2] == [
        "scripts/demo",
        "scripts/test",
    ]
