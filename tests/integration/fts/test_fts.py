"""A folder is copied by a job of an FTS server; the other tests of it are slow."""

from __future__ import annotations

from typing import Any

from support.fts_site import DESTINATION_TOKEN, SOURCE_TOKEN, TOKEN, FtsSite
from support.storages import digest

FILES = {"a": b"1", "sub/b": bytes(5000), "sub/deep/ü & 100 %": b"333", "empty": b""}
HASHES = {path: digest(content) for path, content in FILES.items()}


def counts(result: dict[str, Any]) -> tuple[int, int, int]:
    files = result["totals"]["files"]
    return files["transferred"], files["skipped"], files["failed"]


def test_folder_is_copied_and_the_second_request_has_nothing_to_do(site: FtsSite) -> None:
    site.source.fill("data", FILES)
    answer = site.copy(verify="checksum")
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert (result["state"], result["engine"]) == ("succeeded", "fts")
    assert counts(answer.json()) == (len(FILES), 0, 0)
    assert result["totals"]["bytes"]["transferred"] == sum(map(len, FILES.values()))
    assert result["verification"]["hash"] == "adler32"
    assert [it["state"] for it in result["fts"]["jobs"]] == ["FINISHED"]
    assert not result.get("warnings")
    assert site.destination.hashes("to") == HASHES
    again = site.copy()
    assert again.status_code == 200, again.text
    assert counts(again.json()) == (0, len(FILES), 0)
    assert len(site.fts.jobs) == 1
    for token in (TOKEN, SOURCE_TOKEN, DESTINATION_TOKEN):
        assert token not in answer.text + again.text + site.function.log.read_text()
