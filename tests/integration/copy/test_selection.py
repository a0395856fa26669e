"""Which files are selected, by patterns, sizes, times and lists: by what arrives."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from support import contract
from support.outcomes import FILES, arrived, checked_result, outcomes
from support.service_process import Function
from support.storages import Storage, digest


@pytest.mark.parametrize(
    ("selection", "arrives"),
    [
        ({"include": ["*.h5"]}, {"a.h5", "raw/c.h5", "raw/deep/e.h5"}),
        ({"include": ["/*.h5"]}, {"a.h5"}),
        ({"include": ["raw/**"]}, {"raw/c.h5", "raw/d.tmp", "raw/deep/e.h5"}),
        ({"include": ["raw/*"]}, {"raw/c.h5", "raw/d.tmp"}),
        ({"exclude": ["raw/**"]}, {"a.h5", "b.txt", "Übung/f 1.txt"}),
        ({"exclude": ["*.{tmp,txt}"]}, {"a.h5", "raw/c.h5", "raw/deep/e.h5"}),
        # What is excluded is left out whatever is included.
        ({"include": ["*.h5"], "exclude": ["deep/**"]}, {"a.h5", "raw/c.h5"}),
        ({"include": ["[ab].*"]}, {"a.h5", "b.txt"}),
        ({"include": ["{{[ab]\\.h5}}"]}, {"a.h5"}),
        ({"include": ["f 1.txt"]}, {"Übung/f 1.txt"}),
        ({"include": ["Übung/**", "? nothing"]}, {"Übung/f 1.txt"}),
        ({"include": ["nothing"]}, set()),
        ({"min_size": 30}, {"raw/c.h5", "raw/d.tmp", "raw/deep/e.h5", "Übung/f 1.txt"}),
        ({"max_size": 20}, {"a.h5", "b.txt"}),
        ({"min_size": 20, "max_size": 40, "exclude": ["*.tmp"]}, {"b.txt", "raw/c.h5"}),
        ({"modified_after": "2000-01-01T00:00:00Z"}, set(FILES)),
        ({"modified_after": "2100-01-01T00:00:00Z"}, set()),
        ({"modified_before": "2100-01-01T00:00:00+12:00"}, set(FILES)),
        ({"modified_before": "2000-01-01T00:00:00.5Z"}, set()),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_is_selected_arrives_and_nothing_else(
    function: Function,
    storages: dict[str, Storage],
    webdav: Storage,
    filled: str,
    selection: Any,
    arrives: set[str],
) -> None:
    # By an object store or by WebDAV, in turns: rclone selects before it knows the destination.
    there = storages["s3" if len(str(selection)) % 2 else "rclone"]
    answer = function.copy(
        webdav.endpoint(filled),
        there.endpoint(filled),
        selection=selection,
        options={"report": "all", "verify": "size"},
    )
    result = checked_result(answer)
    assert answer.status_code == 200
    assert outcomes(result) == dict.fromkeys(arrives, "transferred")
    assert arrived(there, filled) == {path: digest(FILES[path]) for path in arrives}
    assert result["verification"] == {
        "mode": "size",
        "checked": len(arrives),
        "differing": 0,
        "missing": 0,
    }


def test_a_time_between_two_files_divides_them(
    function: Function, storages: dict[str, Storage], s3: Storage
) -> None:
    there = storages["rclone"]
    path = uuid.uuid4().hex
    there.fill(path, {"old": b"o", "new": b"n"})
    folder: Path = there.details["folder"] / path
    os.utime(folder / "old", (1_600_000_000, 1_600_000_000))
    os.utime(folder / "new", (1_700_000_000, 1_700_000_000))
    for name, moment in (("modified_after", "new"), ("modified_before", "old")):
        answer = function.copy(
            there.endpoint(path),
            s3.endpoint(f"{path}-{name}"),
            # 1_650_000_000, written in a zone that is not UTC
            selection={name: "2022-04-15T11:20:00+06:00"},
        )
        assert answer.status_code == 200
        assert arrived(s3, f"{path}-{name}") == {moment: digest(moment[:1].encode())}


@pytest.mark.parametrize(
    ("selection", "pointers"),
    [
        ({"include": ["*.h5", "[z-a]"]}, ["/selection/include/1"]),
        ({"exclude": ["{a", "ok", "[a"]}, ["/selection/exclude/0", "/selection/exclude/2"]),
        (
            {"include": ["****"], "exclude": ["{{(}}"]},
            ["/selection/exclude/0", "/selection/include/0"],
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_a_pattern_that_cannot_be_read_is_refused_before_anything_starts(
    function: Function,
    webdav: Storage,
    s3: Storage,
    filled: str,
    selection: Any,
    pointers: list[str],
    accept: str,
) -> None:
    request = {
        "source": webdav.endpoint(filled),
        "destination": s3.endpoint(filled),
        "selection": selection,
    }
    answer = function.post(request, headers={"Accept": accept})
    problem = answer.json()
    assert contract.complaints("problem", problem) == []
    assert (answer.status_code, problem["code"]) == (400, "invalid_request")
    found = sorted((error["pointer"], error["keyword"]) for error in problem["errors"])
    assert found == [(pointer, "format") for pointer in pointers]
    assert "result" not in problem
    assert arrived(s3, filled) == {}


def test_a_selection_of_a_single_file_is_refused(
    function: Function, webdav: Storage, s3: Storage, filled: str
) -> None:
    answer = function.copy(
        webdav.endpoint(f"{filled}/b.txt"), s3.endpoint(filled), selection={"include": ["*.h5"]}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "unsupported")
    assert arrived(s3, filled) == {}


def test_listed_files_arrive_and_a_missing_one_has_failed(
    function: Function, webdav: Storage, s3: Storage, filled: str
) -> None:
    answer = function.copy(
        webdav.endpoint(filled),
        s3.endpoint(filled),
        selection={"files": [{"path": p} for p in ("a.h5", "not/there", "Übung/f 1.txt", "raw")]},
        options={"report": "all"},
    )
    result = checked_result(answer)
    assert (answer.status_code, answer.json()["code"]) == (502, "partial")
    assert outcomes(result) == {
        "a.h5": "transferred",
        "Übung/f 1.txt": "transferred",
        "not/there": "failed",
        "raw": "failed",
    }
    failed = {file["path"]: file["error"] for file in result["files"] if "error" in file}
    assert (failed["not/there"]["code"], failed["not/there"]["side"]) == (
        "source_not_found",
        "source",
    )
    assert failed["raw"]["code"] == "not_a_directory"
    assert result["totals"]["files"] == {"transferred": 2, "skipped": 0, "failed": 2}
    assert result["attempts"] == 1
    assert arrived(s3, filled) == {p: digest(FILES[p]) for p in ("a.h5", "Übung/f 1.txt")}

    again = function.copy(
        webdav.endpoint(filled),
        s3.endpoint(filled),
        selection={"files": [{"path": "a.h5"}, {"path": "b.txt"}]},
        options={"report": "all"},
    )
    assert outcomes(checked_result(again)) == {"a.h5": "skipped same", "b.txt": "transferred"}


@pytest.mark.parametrize("side", ["source", "destination"])
def test_listed_files_and_a_wrong_password(
    function: Function, webdav: Storage, s3: Storage, filled: str, side: str
) -> None:
    wrong = webdav.endpoint(filled, **{"pass": "wrong-password"})
    s3.fill(f"bucket/{filled}", {"a": b"a", "b": b"b"})
    ends = {"source": s3.endpoint(filled), "destination": s3.endpoint(filled), side: wrong}
    answer = function.copy(**ends, selection={"files": [{"path": "a"}, {"path": "b"}]})
    result = checked_result(answer)
    assert (answer.status_code, answer.json()["code"]) == (422, "authentication_failed")
    [group] = result["errors"]
    assert (group["side"], group["count"], group["retryable"]) == (side, 2, False)


def test_what_arrived_is_held_against_what_the_caller_knows(
    function: Function, storages: dict[str, Storage], webdav: Storage, s3: Storage, filled: str
) -> None:
    right = {path: hashlib.sha256(FILES[path]).hexdigest() for path in FILES}
    md5 = hashlib.md5(FILES["raw/c.h5"], usedforsecurity=False).hexdigest()
    for there in (s3, storages["sftp"]):
        answer = function.copy(
            webdav.endpoint(filled),
            there.endpoint(f"{filled}-known"),
            selection={
                "files": [
                    {"path": "a.h5", "size": 10, "checksum": f"sha256:{right['a.h5'].upper()}"},
                    {"path": "b.txt", "size": 21},
                    {"path": "raw/c.h5", "checksum": f"md5:{md5}"},
                    {"path": "raw/d.tmp", "checksum": f"sha256:{right['a.h5']}"},
                    {"path": "Übung/f 1.txt"},
                ]
            },
            options={"report": "all"},
        )
        result = checked_result(answer)
        assert (answer.status_code, answer.json()["code"]) == (502, "partial")
        failed = {f["path"]: f["error"] for f in result["files"] if f["state"] == "failed"}
        assert failed.keys() == {"b.txt", "raw/d.tmp"}, failed
        assert {error["code"] for error in failed.values()} == {"checksum_mismatch"}, failed
        assert "20 bytes" in failed["b.txt"]["message"]
        assert "sha256" in failed["raw/d.tmp"]["message"]
        assert result["totals"]["files"] == {"transferred": 3, "skipped": 0, "failed": 2}
        assert "verification" not in result
        assert answer.json()["retryable"] is False
