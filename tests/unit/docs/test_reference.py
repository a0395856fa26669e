"""The reference's pages hold all that they are of, and say what is so."""

from __future__ import annotations

import json
import re
from typing import Any

from efss_transfer.cli import exit_codes
from efss_transfer.config.settings import Settings, known_variables
from efss_transfer.contract import request_parser
from efss_transfer.contract.schemas import schema
from efss_transfer.model.errors import CODES
from efss_transfer.model.warnings import WARNINGS
from support.doc_blocks import REFERENCE, blocks

HTTP_API = REFERENCE / "http-api.md"


def shown(mark: str, name: str) -> list[dict[str, Any]]:
    """The JSON blocks of the HTTP API's page that are marked so."""
    return [
        json.loads(block.content)
        for block in blocks(HTTP_API)
        if block.language == "json" and block.marks.get(mark) == name
    ]


def test_the_options_that_are_shown_are_all_of_them() -> None:
    (request,) = shown("schema", "request")
    (options,) = (part for part in shown("part", "request") if "options" in part)
    request_parser.parse(json.dumps({**request, **options}).encode())
    known = schema("request")["properties"]["options"]["properties"]
    assert options["options"].keys() == known.keys()
    told = HTTP_API.read_text("utf-8")
    for name in ("same", "older", "exists", "dry_run"):
        assert f"`{name}`" in told


def test_the_plan_is_what_is_reckoned() -> None:
    (request,), (plan,) = shown("schema", "request"), shown("schema", "plan")
    (given,) = shown("part", "plan-request")
    _, reckoning = request_parser.parse_plan(json.dumps({**request, **given}).encode())
    per_shard = plan["seconds"]["look"] + 4000 / plan["shards"]["count"]
    assert plan["shards"]["seconds"] == round(per_shard, 3) <= 0.7 * plan["seconds"]["limit"]
    assert reckoning.seconds == plan["seconds"]["limit"]


def test_the_statuses_that_are_named_are_those_of_the_codes() -> None:
    text = HTTP_API.read_text("utf-8").partition("## Statuses and codes")[2].partition("\n## ")[0]
    named = re.findall(r"^- (\d{3}) `(\w+)`", text, re.MULTILINE)
    assert len(named) >= 5
    for status, code in named:
        assert CODES[code].status == int(status), code


def test_every_code_and_its_status_stand_in_the_table() -> None:
    table = (REFERENCE / "codes.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", table, re.MULTILINE)
    assert {code: int(status) for code, status in rows} == {
        name: code.status for name, code in CODES.items()
    }


def test_every_warning_and_its_message_stand_in_the_table() -> None:
    page = (REFERENCE / "codes.md").read_text("utf-8").partition("## Warnings")[2]
    assert dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", page, re.MULTILINE)) == WARNINGS


def test_every_exit_code_stands_in_the_table() -> None:
    page = (REFERENCE / "command.md").read_text("utf-8")
    table = page.partition("| exit code | meaning |")[2].partition("\n\n")[0]
    told = {
        int(code)
        for row in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE)
        for code in row.split(",")
    }
    known = {value for name, value in vars(exit_codes).items() if name.isupper() and name[0] != "_"}
    assert told == known | {130, 143}


def test_every_setting_stands_in_the_table_with_its_default() -> None:
    page = (REFERENCE / "settings.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `EFSS_TRANSFER_(\w+)` \| ([^|]*) \|", page, re.MULTILINE))
    defaults = Settings.read({"THREADS": "64"})
    assert {f"EFSS_TRANSFER_{name}" for name in rows} == known_variables()
    values = {name.upper(): value for name, value in vars(defaults).items()}
    values |= {name.upper(): value for name, value in vars(defaults.rclone).items()}
    values |= {"RCLONE": defaults.rclone.binary, "RCLONE_SHA256": defaults.rclone.sha256}
    for name, told in rows.items():
        value = values[name]
        if isinstance(value, float | bool):
            value = int(value)
        expected = {"rclone": "found"}.get(name.lower(), "none") if value is None else str(value)
        assert told.strip().strip("`") == expected, name


def test_every_engine_and_option_stands_on_the_page_of_engines() -> None:
    page = (REFERENCE / "engines.md").read_text("utf-8")
    names = list(schema("request")["properties"]["engine"]["enum"])
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == ["Options", *names]
    table = page.partition("## Options")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)(?:: \w+)?` \| (.+) \|$", table, re.MULTILINE)
    assert {name for name, _ in rows} == set(
        schema("request")["properties"]["options"]["properties"]
    )
    for _, cells in rows:
        answers = cells.split(" | ")
        assert len(answers) == len(names)
        assert all(answer == "yes" or answer.startswith("no: ") for answer in answers)
    detach = next(cells for name, cells in rows if name == "detach").split(" | ")
    assert [name for name, it in zip(names, detach, strict=True) if it == "yes"] == ["fts"]
