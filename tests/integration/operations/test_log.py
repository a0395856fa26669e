"""The log of a failure has its code, its side, its seconds and its counts, in both formats."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from support import faulty_webdav, service_process
from support.faulty_webdav import Faulty
from support.service_process import Function

NUMBER = 'efss_transfer_looks_total{code="source_not_found",kind="list"} 1.0'


def copied(function: Function, source: Faulty, path: str, name: str) -> str:
    """The state of a copy to an empty storage."""
    with faulty_webdav.serving() as destination:
        ends = source.storage.endpoint(path), destination.storage.endpoint("to")
        answer = function.copy(*ends, id=name)
    return str(answer.json()["result"]["state"])


def looked(function: Function, cloud: Faulty) -> int:
    return function.post({"endpoint": cloud.storage.endpoint("none")}, "/list").status_code


def test_failures_have_their_codes_in_both_formats(tmp_path: Path) -> None:
    told: dict[str, list[str]] = {}
    with faulty_webdav.serving() as cloud:
        cloud.fill("from", {"a.txt": b"a" * 100, "locked.txt": b"locked"})
        cloud.fail("GET", "/from/locked.txt", faulty_webdav.status(403))
        for form in ("json", "text"):
            (tmp_path / form).mkdir()
            with service_process.function(
                tmp_path / form, site=service_process.LOOPBACK, LOG_FORMAT=form
            ) as function:
                assert copied(function, cloud, "from", "part") == "partial"
                assert copied(function, cloud, "nowhere", "none") == "failed"
                assert looked(function, cloud) == 422
                told[form] = function.log.read_text().splitlines()
                assert NUMBER in function.get("/metrics").text
    _check_json([json.loads(line) for line in told["json"] if line.startswith("{")])
    _check_text("\n".join(told["text"]))


def _check_json(lines: list[dict[str, Any]]) -> None:
    partial, failed = (line for line in lines if line["event"] == "transfer.ended")
    assert (partial["code"], partial["side"]) == ("partial", "source")
    assert partial["errors"] == [{"code": "permission_denied", "side": "source", "count": 1}]
    assert (partial["files_transferred"], partial["files_failed"]) == (1, 1)
    assert partial["bytes_transferred"] == 100
    assert (failed["code"], failed["side"]) == ("source_not_found", "source")
    for line in (partial, failed):
        assert line["caller"] == "anonymous"
        assert len(line["transfer"]) == 32
        assert line["seconds"] > 0
    [serving] = [line for line in lines if line["event"] == "serving"]
    assert serving["address"].startswith("http://127.0.0.1:")


def _check_text(log: str) -> None:
    word = r"[0-9a-f]{32} caller=anonymous request_id="
    for sentence, members in (
        (
            (
                "transfer 'part' by 'anonymous': partial: permission_denied (source); files: "
                "1 transferred, 0 skipped, 1 failed; 100 bytes transferred "
            ),
            (
                r"code=partial side=source state=partial seconds=[\d.]+ files_transferred=1 "
                rf"files_skipped=0 files_failed=1 bytes_transferred=100 transfer={word}part"
            ),
        ),
        (
            (
                "transfer 'none' by 'anonymous': failed: source_not_found (source); files: "
                "0 transferred, 0 skipped, 0 failed; 0 bytes transferred "
            ),
            (
                r"code=source_not_found side=source state=failed seconds=[\d.]+ .* "
                rf"transfer={word}none"
            ),
        ),
        (
            "list of webdav by 'anonymous': failed: source_not_found ",
            r"code=source_not_found seconds=[\d.]+ entries=0 transfer=[0-9a-f]{32} caller=.*",
        ),
    ):
        assert re.search(rf"(?m)Z INFO {re.escape(sentence)}{members}$", log), (sentence, log)
