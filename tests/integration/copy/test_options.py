"""What is selected, how it is compared and verified: by what arrives."""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from support import contract
from support.outcomes import arrived, checked_result, outcomes
from support.service_process import Function
from support.storages import Storage, digest

OLD, NEW = 1_600_000_000, 1_700_000_000


def warned(answer: Any) -> list[tuple[str, int]]:
    """The warnings of a result, but for that of a source that is read without the gateway."""
    warnings = checked_result(answer).get("warnings", ())
    found = [(it["code"], it["count"]) for it in warnings]
    return [it for it in found if it[0] != "without_gateway"]


@pytest.fixture
def different(storages: dict[str, Storage]) -> tuple[Storage, str, str]:
    """Two folders at a storage that keeps times: what is the same, changed, older, newer."""
    there = storages["rclone"]
    here, target = uuid.uuid4().hex, uuid.uuid4().hex
    there.fill(here, {n: f"{n} at the source".encode() for n in ("same", "older", "newer", "new")})
    there.fill(
        target, {n: f"{n} at the destination".encode() for n in ("older", "newer")} | {"x": b"x"}
    )
    there.fill(target, {"same": b"same at the source"})
    root: Path = there.details["folder"]
    for name, source, destination in (("same", OLD, OLD), ("older", OLD, NEW), ("newer", NEW, OLD)):
        os.utime(root / here / name, (source, source))
        os.utime(root / target / name, (destination, destination))
    return there, here, target


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize(
    ("overwrite", "expected"),
    [
        (
            "changed",
            {"same": "skipped same", "older": "transferred", "newer": "transferred"},
        ),
        (
            "newer",
            {"same": "skipped same", "older": "skipped older", "newer": "transferred"},
        ),
        ("never", dict.fromkeys(("same", "older", "newer"), "skipped exists")),
        ("always", dict.fromkeys(("same", "older", "newer"), "transferred")),
    ],
)
def test_what_is_there_is_overwritten_as_was_asked(
    function: Function,
    different: tuple[Storage, str, str],
    overwrite: str,
    expected: dict[str, str],
    listed: bool,
) -> None:
    there, here, target = different
    before = there.hashes(target)
    names = ("same", "older", "newer", "new")
    more: Any = {"selection": {"files": [{"path": name} for name in names]}} if listed else {}
    options = {"overwrite": overwrite, "report": "all", "verify": "download"}

    dry = checked_result(
        function.copy(
            there.endpoint(here),
            there.endpoint(target),
            options={**options, "dry_run": True},
            **more,
        )
    )
    would = {
        path: "skipped dry_run" if state == "transferred" else state
        for path, state in {**expected, "new": "transferred"}.items()
    }
    assert outcomes(dry) == would
    assert there.hashes(target) == before
    assert "verification" not in dry
    assert dry["totals"]["bytes"]["dry_run"] == sum(
        len(f"{name} at the source") for name, state in would.items() if "dry_run" in state
    )

    answer = function.copy(there.endpoint(here), there.endpoint(target), options=options, **more)
    result = checked_result(answer)
    assert answer.status_code == 200
    assert outcomes(result) == {**expected, "new": "transferred"}
    copied = {name for name, state in expected.items() if state == "transferred"} | {"new"}
    after = there.hashes(target)
    assert after == {**before, **{name: there.hashes(here)[name] for name in copied}}
    # What was left as it was on purpose is no difference.
    assert (result["verification"]["differing"], result["verification"]["missing"]) == (0, 0)


@pytest.mark.parametrize("overwrite", ["never", "newer"])
def test_a_filter_by_size_does_not_hide_what_is_there(
    function: Function, storages: dict[str, Storage], overwrite: str
) -> None:
    there = storages["rclone"]
    here, target = uuid.uuid4().hex, uuid.uuid4().hex
    there.fill(here, {"f": b"small"})
    there.fill(target, {"f": b"large and precious" * 10})
    root: Path = there.details["folder"]
    os.utime(root / here / "f", (OLD, OLD))
    answer = function.copy(
        there.endpoint(here),
        there.endpoint(target),
        selection={"max_size": 100, "modified_before": "2021-01-01T00:00:00Z"},
        options={"overwrite": overwrite, "report": "all", "verify": "size"},
    )
    assert answer.status_code == 200
    reason = "exists" if overwrite == "never" else "older"
    assert outcomes(answer.json()) == {"f": f"skipped {reason}"}
    assert there.hashes(target) == {"f": digest(b"large and precious" * 10)}


@pytest.mark.parametrize(
    ("compare", "times", "state"),
    [
        ("default", (OLD, OLD), "skipped same"),
        ("default", (NEW, OLD), "transferred"),
        ("size", (NEW, OLD), "skipped same"),
        ("checksum", (OLD, OLD), "transferred"),
    ],
)
def test_how_two_files_are_compared(
    function: Function, s3: Storage, compare: str, times: tuple[int, int], state: str
) -> None:
    here, target = uuid.uuid4().hex, uuid.uuid4().hex
    for path, content, moment in ((here, b"one way ", times[0]), (target, b"or other", times[1])):
        s3.details["client"].put_object(
            Bucket="bucket", Key=f"{path}/f", Body=content, Metadata={"mtime": f"{moment}.0"}
        )
    answer = function.copy(
        s3.endpoint(here), s3.endpoint(target), options={"compare": compare, "report": "all"}
    )
    assert outcomes(answer.json()) == {"f": state}


def test_metadata_is_copied_where_both_can_keep_it(
    function: Function, s3: Storage, webdav: Storage
) -> None:
    client, here = s3.details["client"], uuid.uuid4().hex
    client.put_object(Bucket="bucket", Key=f"{here}/f", Body=b"f", Metadata={"colour": "green"})
    kept = {}
    for wanted in (False, True):
        # By way of another account: the storage's own copy would take all of it along.
        other = s3.endpoint(f"{here}-{wanted}", region="us-east-2")
        answer = function.copy(s3.endpoint(here), other, options={"metadata": wanted})
        assert answer.status_code == 200
        head = client.head_object(Bucket="bucket", Key=f"{here}-{wanted}/f")
        kept[wanted] = head["Metadata"].get("colour")
    assert kept == {False: None, True: "green"}


def test_a_stop_at_the_first_error_leaves_the_rest(
    function: Function, storages: dict[str, Storage], s3: Storage
) -> None:
    there = storages["sftp"]
    path = uuid.uuid4().hex
    there.fill(path, {f"{number:04}": b"x" for number in range(400)})
    there.fill(f"{path}-there", {f"{number:04}/in the way": b"x" for number in range(400)})
    totals = {}
    for on_error in ("stop", "continue"):
        answer = function.copy(
            there.endpoint(path),
            there.endpoint(f"{path}-there", user="alice"),
            options={"on_error": on_error, "verify": "size"},
        )
        assert answer.status_code >= 400
        totals[on_error] = checked_result(answer)["totals"]["files"]["failed"]
        assert ("verification" in checked_result(answer)) is (on_error == "continue")
    assert totals["continue"] == 400
    assert 1 <= totals["stop"] < 400


def spoilt(s3: Storage, path: str, content: bytes) -> None:
    """Another content of the same size, with the time that it had."""
    client = s3.details["client"]
    head = client.head_object(Bucket="bucket", Key=path)
    client.put_object(Bucket="bucket", Key=path, Body=content, Metadata=head["Metadata"])


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize(
    ("source", "verify", "told_as", "finds"),
    [
        ("gcs", "size", {"mode": "size"}, False),
        ("gcs", "checksum", {"mode": "checksum", "hash": "md5"}, True),
        ("gcs", "download", {"mode": "download"}, True),
        ("rclone", "size", {"mode": "size"}, False),
        ("rclone", "checksum", {"mode": "size"}, False),
        ("rclone", "download", {"mode": "download"}, True),
    ],
)
def test_verification_finds_what_its_mode_can_find(
    function: Function,
    storages: dict[str, Storage],
    s3: Storage,
    source: str,
    verify: str,
    told_as: dict[str, str],
    finds: bool,
    listed: bool,
) -> None:
    path = uuid.uuid4().hex
    folder = "/".join(filter(None, (storages[source].base, path)))
    storages[source].fill(folder, {"a": b"a" * 8, "b": b"b" * 8, "d/c": b"c" * 8})
    more: Any = {"selection": {"files": [{"path": p} for p in "ab"]}} if listed else {}
    count = 2 if listed else 3

    def copy() -> Any:
        return function.copy(
            storages[source].endpoint(path),
            s3.endpoint(path),
            options={"verify": verify, "report": "all"},
            **more,
        )

    answer = copy()
    assert answer.status_code == 200, answer.text
    seen = {**told_as, "checked": count, "differing": 0, "missing": 0}
    assert checked_result(answer)["verification"] == seen
    is_weaker = verify != told_as["mode"]
    assert warned(answer) == ([("compared_by_size", count)] if is_weaker else [])

    spoilt(s3, f"{path}/b", b"spoilt!!")
    answer = copy()
    result = checked_result(answer)
    assert result["verification"] == {**seen, "differing": int(finds)}
    if not finds:
        assert answer.status_code == 200
        return
    assert (answer.status_code, answer.json()["code"]) == (502, "partial")
    assert answer.json()["retryable"] is False  # what is there looks unchanged to a copy
    [group] = result["errors"]
    assert (group["code"], group["count"]) == ("checksum_mismatch", 1)
    assert [sample["path"] for sample in group["samples"]] == ["b"]
    assert result["totals"]["files"] == {"transferred": 0, "skipped": count - 1, "failed": 1}
    assert result["totals"]["skipped"] == {"same": count - 1}
    assert outcomes(result)["b"] == "failed"

    # What the message says helps.
    answer = function.copy(
        storages[source].endpoint(path),
        s3.endpoint(path),
        options={"verify": verify, "overwrite": "always"},
        **more,
    )
    assert answer.status_code == 200
    assert arrived(s3, path)["b"] == digest(b"b" * 8)


@pytest.mark.parametrize("verify", ["size", "checksum", "download"])
def test_a_single_file_is_verified(
    function: Function, webdav: Storage, s3: Storage, filled: str, verify: str
) -> None:
    answer = function.copy(
        webdav.endpoint(f"{filled}/a.h5"),
        s3.endpoint(f"{filled}/renamed"),
        options={"verify": verify},
    )
    assert answer.status_code == 200
    mode = "size" if verify == "checksum" else verify
    assert answer.json()["verification"] == {
        "mode": mode,
        "checked": 1,
        "differing": 0,
        "missing": 0,
    }


@pytest.mark.field_case("I7")
@pytest.mark.parametrize(("source", "is_error"), [("gcs", False), ("rclone", True)])
@pytest.mark.parametrize("listed", [False, True])
def test_checksum_that_is_required_and_missing_is_an_error(
    function: Function,
    storages: dict[str, Storage],
    s3: Storage,
    source: str,
    is_error: bool,
    listed: bool,
) -> None:
    path = uuid.uuid4().hex
    folder = "/".join(filter(None, (storages[source].base, path)))
    expected = storages[source].fill(folder, {"a": b"a" * 8, "b": b"b" * 8})
    answer = function.copy(
        storages[source].endpoint(path),
        s3.endpoint(path),
        options={"verify": "checksum", "require_checksum": True},
        **({"selection": {"files": [{"path": "a"}, {"path": "b"}]}} if listed else {}),
    )
    assert answer.status_code == (502 if is_error else 200), answer.text
    errors = [(it["code"], it["retryable"]) for it in checked_result(answer)["errors"]]
    assert errors == ([("unsupported", False)] if is_error else [])
    assert warned(answer) == []
    assert arrived(s3, path) == expected


def test_a_stream_tells_the_phase_and_of_what_differs_twice(
    function: Function, storages: dict[str, Storage], s3: Storage
) -> None:
    path = uuid.uuid4().hex
    storages["rclone"].fill(path, {"a": b"a" * 8, "b": b"b" * 8})
    ends = {"source": storages["rclone"].endpoint(path), "destination": s3.endpoint(path)}
    assert function.post(ends).status_code == 200
    spoilt(s3, f"{path}/b", b"spoilt!!")
    answer = function.post(
        {**ends, "options": {"verify": "download"}}, headers={"Accept": "application/x-ndjson"}
    )
    events = [json.loads(line) for line in answer.text.splitlines()]
    for event in events:
        assert contract.complaints("event", event) == []
    files = [(event["path"], event["state"]) for event in events if event["event"] == "file"]
    assert sorted(files[:2]) == [("a", "skipped"), ("b", "skipped")]
    assert files[2:] == [("b", "failed")]
    assert events[-1]["state"] == "partial"


def test_the_bandwidth_limit_binds(function: Function, storages: dict[str, Storage]) -> None:
    here, there = storages["rclone"], storages["sftp"]
    path = uuid.uuid4().hex
    here.fill(path, {str(number): os.urandom(2_000_000) for number in range(4)})
    began = time.monotonic()
    answer = function.copy(
        here.endpoint(path), there.endpoint(path), options={"bandwidth_limit": 2_000_000}
    )
    seconds = time.monotonic() - began
    assert answer.status_code == 200
    assert there.hashes(path) == here.hashes(path)
    # 8 MB at 2 MB/s; rclone lets a burst through at the start.
    assert 2.5 <= seconds < 30, seconds
