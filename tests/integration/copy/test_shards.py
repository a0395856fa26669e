"""Shards: each file in exactly one of them, whatever it is called and however it is selected."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.engines.sharding import contains
from efss_transfer.model.result import Shard
from support import storages as servers
from support.contract import complaints
from support.service_process import Function
from support.storages import Storage

COUNT = 8
ODD = (
    "plain.txt",
    "A.TXT",
    "sp ace .txt",
    " lead",
    "per%41cent%.txt",
    "quo\"te's`.txt",
    "hash#quest?.txt",
    "amp&semi;plus+.txt",
    ".hidden",
    "..two.dots",
    "…",
    "emoji-🎉",
    "עברית",
    unicodedata.normalize("NFC", "né.txt"),
    unicodedata.normalize("NFD", "dé.txt"),
    "\u0130stanbul",
    "ΣΑΣ",
    "straße",
    "\u212aelvin",
    "x" * 240,
    "deep/" * 5 + "file",
)


def tree(more: int = 20) -> dict[str, bytes]:
    """Files with odd names, and enough of others that no shard is likely to be empty."""
    names = [*ODD, *(f"dir {number % 2}/{name}" for number, name in enumerate(ODD))]
    names += [f"many/{number:03}.h5" for number in range(more)]
    return {name: f"{name} of {number}".encode() for number, name in enumerate(names)}


def shards(
    function: Function, source: Any, destination: Any, count: int = COUNT, **members: Any
) -> list[Any]:
    """The answers to all shards of a request, in order; several run at a time."""
    selection = members.pop("selection", {})
    options = {"report": "all", **members.pop("options", {})}

    def one(index: int) -> Any:
        chosen = {**selection, "shard": {"index": index, "count": count}}
        return function.copy(source, destination, selection=chosen, options=options, **members)

    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(one, range(count)))


def results(answers: Iterable[Any]) -> list[Any]:
    """The results of shards that succeeded, each of which says which it is."""
    told = []
    for index, answer in enumerate(answers):
        assert answer.status_code == 200, answer.text
        result = answer.json()
        assert complaints("result", result) == []
        assert result["shard"] == {"index": index, "count": COUNT}
        told.append(result)
    return told


def paths(told: Iterable[Any], state: str = "transferred") -> Counter[str]:
    """How often each path was told so, over all shards."""
    return Counter(
        file["path"] for result in told for file in result["files"] if file["state"] == state
    )


@pytest.mark.parametrize(
    ("server", "other"),
    [("wsgidav", "s3"), pytest.param("rclone", "wsgidav", marks=pytest.mark.slow)],
)
def test_eight_shards_give_each_file_once(
    function: Function, storages: dict[str, Storage], server: str, other: str
) -> None:
    source, destination, folder = storages[server], storages[other], f"shards-{server}"
    files = source.fill(folder, tree())
    ends = (source.endpoint(folder), destination.endpoint(folder))

    told = results(shards(function, *ends, options={"verify": "download"}))

    assert paths(told) == dict.fromkeys(files, 1)
    assert destination.hashes(ends[1]["path"]) == files
    assert sum(result["verification"]["checked"] for result in told) == len(files)
    assert sum(result["totals"]["files"]["transferred"] for result in told) == len(files)
    # Once more: each finds what it has copied, and nothing of the others'.
    again = results(shards(function, *ends, options={"overwrite": "never"}))
    assert paths(again, "skipped") == dict.fromkeys(files, 1)
    assert paths(again) == {}


def test_a_shard_is_a_part_of_what_else_is_selected(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    files = webdav.fill("shards-of-some", tree())
    selection = {"include": ["many/**", "*.txt"], "exclude": ["many/0?0.h5"], "min_size": 16}
    ends = (webdav.endpoint("shards-of-some"), s3.endpoint("shards-of-some"))
    whole = function.copy(
        *ends, selection=selection, options={"dry_run": True, "report": "all"}
    ).json()
    expected = [file["path"] for file in whole["files"]]
    assert 10 < len(expected) < len(files)

    told = results(shards(function, *ends, selection=selection))

    assert paths(told) == dict.fromkeys(expected, 1)
    assert set(s3.hashes("bucket/shards-of-some")) == set(expected)


def test_listed_files_are_shared_out_as_a_tree_is(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    files = webdav.fill("shards-of-list", tree(10))
    listed = [{"path": path, "checksum": f"sha256:{sum_}"} for path, sum_ in files.items()]
    missing = {"path": "there/is/no/such"}
    ends = (webdav.endpoint("shards-of-list"), s3.endpoint("shards-of-list"))

    answers = shards(function, *ends, selection={"files": [*listed, missing]})

    told = [answer.json().get("result", answer.json()) for answer in answers]
    assert paths(told) == dict.fromkeys(files, 1)
    assert s3.hashes("bucket/shards-of-list") == files
    # Of the one that is missing one shard tells, and the others have succeeded.
    assert paths(told, "failed") == {missing["path"]: 1}
    assert sorted(answer.status_code for answer in answers) == [200] * (COUNT - 1) + [502]
    # In the shard in which rclone has it in a tree: tests/unit/engines/test_sharding.py shows that.
    for index, result in enumerate(told):
        assert all(contains(Shard(index, COUNT), file["path"]) for file in result["files"])


def test_of_few_files_some_shards_have_none_and_succeed(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    files = webdav.fill("shards-of-one", {"only.txt": b"only"})
    cases: list[tuple[str, Any, Any]] = [
        ("tree", webdav.endpoint("shards-of-one"), {}),
        ("list", webdav.endpoint("shards-of-one"), {"files": [{"path": "only.txt"}]}),
        ("file", webdav.endpoint("shards-of-one/only.txt"), {}),
    ]
    for name, source, selection in cases:
        target = s3.endpoint(f"shards-of-one-{name}/")
        told = results(
            shards(function, source, target, selection=selection, options={"verify": "size"})
        )
        assert paths(told) == dict.fromkeys(files, 1), name
        # Which shard that is, is a matter of the path alone.
        (index,) = (number for number, result in enumerate(told) if result["files"])
        assert contains(Shard(index, COUNT), "only.txt"), name
        assert s3.hashes(f"bucket/shards-of-one-{name}") == files, name


def test_a_name_that_ends_a_line_is_in_one_shard_too(function: Function, webdav: Storage) -> None:
    # To another folder and dry: no other server of these tests takes such a name.
    files = webdav.fill("shards-of-lines", {f"line\nend\t{n}": b"x" for n in range(8)})
    ends = (webdav.endpoint("shards-of-lines"), webdav.endpoint("shards-of-lines-2"))
    told = results(shards(function, *ends, options={"dry_run": True}))
    assert paths(told, "skipped") == dict.fromkeys(files, 1)


@pytest.mark.parametrize("kind", ["webdav", "s3"])
def test_a_source_that_is_not_there_is_missing_in_every_shard(
    function: Function, webdav: Storage, s3: Storage, kind: str
) -> None:
    source = {"webdav": webdav, "s3": s3}[kind]
    target = {"webdav": s3, "s3": webdav}[kind].endpoint("shards-of-nothing")
    for selection in ({}, {"files": [{"path": "a"}]}):
        answers = shards(
            function, source.endpoint("shards/are/not/here"), target, 3, selection=selection
        )
        codes = {answer.json()["code"] for answer in answers}
        assert codes == {"source_not_found"}, selection


def test_wrong_credentials_fail_a_shard_that_has_no_file(
    function: Function, webdav: Storage, s3: Storage
) -> None:
    webdav.fill("shards-locked", {"a": b"a"})
    listed = {"files": [{"path": "a"}]}
    for source in (webdav.endpoint("shards-locked"), webdav.endpoint()):
        answers = shards(
            function,
            {**source, "parameters": {**source["parameters"], "pass": "wrong"}},
            s3.endpoint("shards-locked"),
            3,
            selection=listed,
        )
        codes = {answer.json()["code"] for answer in answers}
        assert codes == {"authentication_failed"}


def test_a_shard_beyond_their_count_is_refused(function: Function, webdav: Storage) -> None:
    answer = function.copy(
        webdav.endpoint("a"), webdav.endpoint("b"), selection={"shard": {"index": 8, "count": 8}}
    )
    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {"pointer": "/selection/shard/index", "keyword": "order", "message": "Must be below count."}
    ]


def test_a_shard_is_told_in_a_stream_too(function: Function, webdav: Storage, s3: Storage) -> None:
    webdav.fill("shards-streamed", {f"{number}": b"x" for number in range(9)})
    answer = function.post(
        {
            "source": webdav.endpoint("shards-streamed"),
            "destination": s3.endpoint("shards-streamed"),
            "selection": {"shard": {"index": 1, "count": 3}},
        },
        headers={"Accept": "application/x-ndjson"},
    )
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert [complaints("event", event) for event in events] == [[]] * len(events)
    assert events[-1]["shard"] == {"index": 1, "count": 3}
    expected = {f"{number}" for number in range(9) if contains(Shard(1, 3), f"{number}")}
    assert {event["path"] for event in events if event["event"] == "file"} == expected


@pytest.mark.slow
def test_fifty_thousand_files_are_each_in_one_shard(
    function: Function, s3: Storage, rclone: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "many"
    # Few folders, because each is a call or two of every shard.
    odd = [name for name in ODD if "/" not in name]
    names = [f"{number // 1000}/{number:05} É%{number % 10}.bin" for number in range(43_000)]
    names += [f"odd {number // len(odd)}/{odd[number % len(odd)]}" for number in range(7_000)]
    for name in names:
        file = folder / "tree" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert len(set(names)) == 50_000
    with servers.rclone_webdav(folder, rclone) as source:
        seen: Counter[str] = Counter()
        for index in range(COUNT):
            answer = function.post(
                {
                    "source": source.endpoint("tree"),
                    "destination": s3.endpoint("shards-of-many"),
                    "selection": {"shard": {"index": index, "count": COUNT}},
                    "options": {"dry_run": True},
                },
                headers={"Accept": "application/x-ndjson"},
                timeout=600,
            )
            events = [json.loads(line) for line in answer.text.splitlines()]
            assert events[-1]["state"] == "succeeded"
            told = [event["path"] for event in events if event["event"] == "file"]
            assert len(told) == events[-1]["totals"]["files"]["skipped"]
            assert all(contains(Shard(index, COUNT), path) for path in told)
            # Evenly: an eighth is 6,250, and five standard deviations are 370.
            assert abs(len(told) - 6250) < 370
            seen.update(told)
        whole = {"source": source.endpoint("tree"), "destination": s3.endpoint("shards-of-many")}
        plan = function.post(whole, path="/plan", timeout=600).json()
    assert seen == dict.fromkeys(names, 1)
    assert plan["files"] == 50_000
    print(f"a look at 50,000 files took {plan['seconds']['look']} s")
