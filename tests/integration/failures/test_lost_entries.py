"""Entries of a listing that rclone passes over: each is reported, and the other files arrive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from support import faulty_webdav, http_index, odd_s3
from support.faulty_webdav import Faulty
from support.http_index import Index
from support.listings import with_status
from support.odd_s3 import OddS3
from support.service_process import Function
from support.storages import Storage, digest

FILES: Final = {"data/bad.txt": b"22", "data/good.txt": b"1", "data/sub/more.txt": b"333"}
GOOD: Final = {"good.txt": digest(b"1"), "sub/more.txt": digest(b"333")}
WHOLE: Final = {**GOOD, "bad.txt": digest(b"22")}


@pytest.fixture
def index() -> Iterator[Index]:
    with http_index.serving(FILES) as running:
        yield running


@pytest.fixture
def odd(s3: Storage) -> Iterator[OddS3]:
    with odd_s3.before(s3) as running:
        yield running


def errors(answer: Any) -> list[tuple[str, str | None, list[str]]]:
    """Code, side and paths of each error."""
    result = answer.json().get("result") or {}
    return [
        (it["code"], it.get("side"), [sample.get("path", "") for sample in it["samples"]])
        for it in result.get("errors", [])
    ]


def head_of_bad(index: Index, status: int) -> None:
    index.fail = lambda method, path: status if (method, path) == ("HEAD", "/data/bad.txt") else 0


@pytest.mark.field_case("A6")
@pytest.mark.parametrize(
    ("status", "code", "attempts"),
    [
        (403, "permission_denied", 1),
        (405, "unsupported", 1),
        (410, "storage_error", 1),
        (500, "storage_error", 2),
        (503, "storage_busy", 2),
    ],
)
def test_linked_file_that_refuses_head_is_a_failed_file(
    status: int,
    code: str,
    attempts: int,
    function: Function,
    index: Index,
    s3: Storage,
    folder: str,
) -> None:
    head_of_bad(index, status)
    options = {"attempts": 2, "verify": "size", "report": "all"}
    answer = function.copy(index.endpoint("data/"), s3.endpoint(folder), options=options)
    assert (answer.status_code, answer.json()["code"]) == (502, "partial"), answer.text
    assert errors(answer) == [(code, "source", ["bad.txt"])]
    result = answer.json()["result"]
    assert result["totals"]["files"] == {"transferred": 2, "skipped": 0, "failed": 1}
    assert [it["path"] for it in result["files"] if it["state"] == "failed"] == ["bad.txt"]
    assert result["attempts"] == attempts
    assert str(status) in answer.text
    assert s3.hashes(f"bucket/{folder}") == GOOD


@pytest.mark.parametrize("status", [500, 503])
def test_linked_file_is_copied_once_the_error_has_passed(
    status: int, function: Function, index: Index, s3: Storage, folder: str
) -> None:
    def fail(method: str, path: str) -> int:
        is_first_attempt = ("GET", "/data/good.txt") not in index.seen
        return status if is_first_attempt and (method, path) == ("HEAD", "/data/bad.txt") else 0

    index.fail = fail
    answer = function.copy(index.endpoint("data/"), s3.endpoint(folder))
    assert answer.status_code == 200, answer.text
    assert answer.json()["attempts"] == 2
    assert s3.hashes(f"bucket/{folder}") == WHOLE


def test_link_to_a_missing_file_is_no_failure(
    function: Function, index: Index, s3: Storage, folder: str
) -> None:
    # A server's index shows a dangling link, too.
    index.links = ("dangling.txt",)
    answer = function.copy(index.endpoint("data/"), s3.endpoint(folder))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == WHOLE


@pytest.mark.parametrize(
    "selection", [{"exclude": ["bad*"]}, {"include": ["{good,more}.txt"]}, {"exclude": ["/[ab]*"]}]
)
def test_refused_file_that_is_not_selected_is_no_failure(
    selection: dict[str, Any], function: Function, index: Index, s3: Storage, folder: str
) -> None:
    head_of_bad(index, 403)
    answer = function.copy(index.endpoint("data/"), s3.endpoint(folder), selection=selection)
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == GOOD


@pytest.mark.parametrize("selection", [{"include": ["*.txt"]}, {"exclude": ["*.csv"]}])
def test_refused_file_that_is_selected_fails(
    selection: dict[str, Any], function: Function, index: Index, s3: Storage, folder: str
) -> None:
    head_of_bad(index, 403)
    answer = function.copy(index.endpoint("data/"), s3.endpoint(folder), selection=selection)
    assert errors(answer) == [("permission_denied", "source", ["bad.txt"])]
    assert s3.hashes(f"bucket/{folder}") == GOOD


@pytest.mark.field_case("A6")
@pytest.mark.parametrize("status", [403, 503])
def test_listed_or_single_file_that_refuses_head_fails_at_the_source(
    status: int, function: Function, index: Index, s3: Storage, folder: str
) -> None:
    code = {403: "permission_denied", 503: "storage_busy"}[status]
    head_of_bad(index, status)
    options = {"attempts": 1}
    listed = function.copy(
        index.endpoint("data/"),
        s3.endpoint(folder),
        selection={"files": [{"path": "bad.txt"}, {"path": "good.txt"}]},
        options=options,
    )
    assert errors(listed) == [(code, "source", ["bad.txt"])]
    assert s3.hashes(f"bucket/{folder}") == {"good.txt": digest(b"1")}
    single = function.copy(
        index.endpoint("data/bad.txt"), s3.endpoint(f"{folder}/x"), options=options
    )
    assert [(it[0], it[1]) for it in errors(single)] == [(code, "source")]


def test_one_shard_alone_reports_a_refused_file(
    function: Function, index: Index, s3: Storage, folder: str
) -> None:
    head_of_bad(index, 403)
    answers = [
        function.copy(
            index.endpoint("data/"),
            s3.endpoint(folder),
            selection={"shard": {"index": shard, "count": 3}},
        )
        for shard in range(3)
    ]
    found = [errors(answer) for answer in answers if answer.status_code != 200]
    assert found == [[("permission_denied", "source", ["bad.txt"])]]
    assert s3.hashes(f"bucket/{folder}") == GOOD


def test_dry_run_and_plan_report_a_refused_file(
    function: Function, index: Index, s3: Storage, folder: str
) -> None:
    head_of_bad(index, 403)
    dry = function.copy(index.endpoint("data/"), s3.endpoint(folder), options={"dry_run": True})
    assert errors(dry) == [("permission_denied", "source", ["bad.txt"])]
    plan = function.post(
        {"source": index.endpoint("data/"), "destination": s3.endpoint(folder)}, "/plan"
    )
    assert plan.status_code != 200
    assert "permission_denied" in plan.text
    assert not s3.hashes(f"bucket/{folder}")


def test_file_that_refuses_head_during_verification_is_not_verified(
    function: Function, index: Index, s3: Storage, folder: str
) -> None:
    def fail(method: str, path: str) -> int:
        is_copied = ("GET", "/data/bad.txt") in index.seen
        return 403 if is_copied and (method, path) == ("HEAD", "/data/bad.txt") else 0

    index.fail = fail
    answer = function.copy(index.endpoint("data/"), s3.endpoint(folder), options={"verify": "size"})
    assert errors(answer) == [("permission_denied", "source", ["bad.txt"])]
    assert answer.json()["result"]["totals"]["files"]["failed"] == 1
    assert s3.hashes(f"bucket/{folder}") == WHOLE


@pytest.mark.field_case("A8")
@pytest.mark.parametrize("provider", ["Minio", "AWS", "Wasabi"])
def test_key_that_the_listing_does_not_encode_is_a_failed_file(
    provider: str, function: Function, odd: OddS3, webdav: Storage, folder: str
) -> None:
    odd.storage.fill(f"bucket/{folder}", {"100%.txt": b"22", "good.txt": b"1"})
    odd.encodes = False
    source = odd.endpoint(folder, provider=provider)
    options = {"verify": "size"}
    answer = function.copy(source, webdav.endpoint(folder), options=options)
    assert (answer.status_code, answer.json()["code"]) == (502, "partial"), answer.text
    assert errors(answer) == [("name_refused", "source", ["100%.txt"])]
    assert webdav.hashes(folder) == {"good.txt": digest(b"1")}
    # The remedy that the message names.
    assert "`Other`" in answer.text
    other = function.copy(odd.endpoint(folder, provider="Other"), webdav.endpoint(folder))
    assert other.status_code == 200, other.text
    assert webdav.hashes(folder)["100%.txt"] == digest(b"22")


@pytest.mark.field_case("A8")
def test_folder_that_the_listing_does_not_encode_is_no_success(
    function: Function, odd: OddS3, webdav: Storage, folder: str
) -> None:
    odd.storage.fill(f"bucket/{folder}", {"50%/a.txt": b"22", "good.txt": b"1"})
    odd.encodes = False
    source = odd.endpoint(folder, provider="Minio")
    answer = function.copy(source, webdav.endpoint(folder))
    assert errors(answer) == [("name_refused", "source", ["50%"])]
    assert webdav.hashes(folder) == {"good.txt": digest(b"1")}
    excluded = function.copy(source, webdav.endpoint(folder), selection={"exclude": ["/50%/**"]})
    assert excluded.status_code == 200, excluded.text


SPELLINGS: Final = {
    "own case": lambda key: key.replace("set/run", "Set/Run"),
    "leading slash": lambda key: f"/{key}",
    "with the bucket": lambda key: f"bucket/{key}",
    "without the folder": lambda key: key.partition("run/")[2] or key,
}


@pytest.mark.field_case("A9")
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("options", [{"verify": "size"}, {"dry_run": True}])
def test_keys_in_another_spelling_of_the_folder_are_no_success(
    spelling: str,
    options: dict[str, Any],
    function: Function,
    odd: OddS3,
    webdav: Storage,
    folder: str,
) -> None:
    path = f"{folder}/set/run"
    odd.storage.fill(f"bucket/{path}", {"a.txt": b"1", "b.txt": b"22"})
    odd.rewrite = SPELLINGS[spelling]
    answer = function.copy(odd.endpoint(path), webdav.endpoint(folder), options=options)
    assert answer.status_code == 502, answer.text
    ((code, side, _),) = errors(answer)
    assert (code, side) == ("storage_error", "source")
    assert path in answer.text
    assert not webdav.hashes(folder)


@pytest.mark.field_case("A9", variant="an S3 entry without a key")
def test_entry_without_a_name_is_no_success(
    function: Function, odd: OddS3, webdav: Storage, folder: str
) -> None:
    odd.storage.fill(f"bucket/{folder}", {"a.txt": b"1", "b.txt": b"22"})
    odd.rewrite = lambda key: "" if key.endswith("/b.txt") else key
    answer = function.copy(odd.endpoint(folder), webdav.endpoint(folder))
    assert answer.status_code == 502, answer.text
    assert [(it[0], it[1]) for it in errors(answer)] == [("storage_error", "source")]
    assert webdav.hashes(folder) == {"a.txt": digest(b"1")}


def test_gateway_that_lists_more_than_the_folder_loses_nothing(
    function: Function, odd: OddS3, webdav: Storage, folder: str
) -> None:
    odd.storage.fill(f"bucket/{folder}", {"other/b": b"22", "run/a.txt": b"1", "run": b"marker"})
    odd.filters = False
    source = odd.endpoint(f"{folder}/run/")
    answer = function.copy(source, webdav.endpoint(folder))
    assert answer.status_code == 200, answer.text
    assert webdav.hashes(folder) == {"a.txt": digest(b"1")}


@pytest.mark.parametrize("side", ["source", "destination"])
def test_odd_listing_counts_at_the_source_alone(
    side: str, function: Function, odd: OddS3, s3: Storage, folder: str
) -> None:
    # Both sides have the same bucket and folder, which is all that rclone logs of a listing.
    s3.details["client"].create_bucket(Bucket="second")
    odd.behind = "second"
    odd.rewrite = lambda key: key.replace(f"{folder}/run/", f"{folder}/Run/")
    path = f"{folder}/run"
    if side == "source":
        s3.fill(f"second/{path}", {"a.txt": b"1"})
        s3.fill(f"bucket/{path}", {"old.txt": b"0"})
        answer = function.copy(odd.endpoint(path), s3.endpoint(path))
        assert [(it[0], it[1]) for it in errors(answer)] == [("storage_error", "source")]
        assert s3.hashes(f"bucket/{path}") == {"old.txt": digest(b"0")}
    else:
        s3.fill(f"bucket/{path}", {"a.txt": b"1"})
        s3.fill(f"second/{path}", {"old.txt": b"0"})
        answer = function.copy(s3.endpoint(path), odd.endpoint(path))
        assert answer.status_code == 200, answer.text
        assert s3.hashes(f"second/{path}") == {"a.txt": digest(b"1"), "old.txt": digest(b"0")}


HREFS: Final = {
    "prefix stripped": (b"<d:href>/web/", b"<d:href>/"),
    "prefix replaced": (b"<d:href>/web/", b"<d:href>/dav/"),
    "own case": (b"<d:href>/web/data", b"<d:href>/Web/DATA"),
    "alias": (b"<d:href>/web/data", b"<d:href>/web/4711"),
}


@pytest.mark.field_case("A1", "A2")
@pytest.mark.parametrize("spelling", HREFS)
def test_webdav_paths_that_do_not_match_are_no_success_without_the_gateway(
    spelling: str, direct: Function, dav: Faulty, s3: Storage, folder: str
) -> None:
    dav.fill("web/data", {"a": b"1", "sub/b": b"22"})
    dav.rewrite = lambda _, body: body.replace(*HREFS[spelling])
    answer = direct.copy(dav.endpoint("data", "/web"), s3.endpoint(folder))
    assert answer.status_code == 502, answer.text
    ((code, side, _),) = errors(answer)
    assert (code, side) == ("storage_error", "source")
    assert "/web/data" in answer.text
    assert not s3.hashes(f"bucket/{folder}")


def test_one_folder_whose_paths_do_not_match_is_no_success_without_the_gateway(
    direct: Function, dav: Faulty, s3: Storage, folder: str
) -> None:
    dav.fill("data", {"a": b"1", "sub/b": b"22"})
    dav.rewrite = lambda path, body: (
        body.replace(b"<d:href>/data/sub/b", b"<d:href>/4711/b") if path == "/data/sub" else body
    )
    answer = direct.copy(dav.endpoint("data"), s3.endpoint(folder))
    assert answer.json()["code"] == "partial"
    assert [(it[0], it[1]) for it in errors(answer)] == [("storage_error", "source")]
    assert s3.hashes(f"bucket/{folder}") == {"a": digest(b"1")}


@pytest.mark.field_case("A4", "A5")
@pytest.mark.parametrize(
    ("code", "expected", "attempts"),
    [
        (403, "permission_denied", 1),
        (404, "source_not_found", 1),
        (425, "storage_busy", 2),
        (500, "storage_error", 2),
        (507, "storage_error", 1),
    ],
)
def test_webdav_entry_with_an_error_is_a_failed_file_without_the_gateway(
    code: int,
    expected: str,
    attempts: int,
    direct: Function,
    dav: Faulty,
    s3: Storage,
    folder: str,
) -> None:
    dav.fill("data", {"good": b"1", "bad": b"22"})
    dav.rewrite = lambda _, body: with_status(body, "/data/bad", code, "propstat")
    options = {"attempts": 2, "verify": "size"}
    answer = direct.copy(dav.endpoint("data"), s3.endpoint(folder), options=options)
    assert answer.json()["code"] == "partial"
    assert errors(answer) == [(expected, "source", ["bad"])]
    assert answer.json()["result"]["attempts"] == attempts
    assert answer.json()["result"]["totals"]["files"]["failed"] == 1
    assert s3.hashes(f"bucket/{folder}") == {"good": digest(b"1")}


@pytest.mark.parametrize("where", ["bad", "sub/"])
def test_webdav_entry_is_copied_once_its_error_has_passed_without_the_gateway(
    where: str, direct: Function, dav: Faulty, s3: Storage, folder: str
) -> None:
    expected = dav.fill("data", {"bad": b"22", "good": b"1", "sub/x": b"333"})
    dav.rewrite = lambda _, body: (
        body
        if dav.seen("GET", "/data/good")
        else with_status(body, f"/data/{where}", 503, "propstat")
    )
    answer = direct.copy(dav.endpoint("data"), s3.endpoint(folder))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == expected


def test_webdav_folder_with_an_error_fails_every_shard_without_the_gateway(
    direct: Function, dav: Faulty, s3: Storage, folder: str
) -> None:
    dav.fill("data", {"good": b"1", "sub/x": b"22"})
    dav.rewrite = lambda _, body: with_status(body, "/data/sub/", 403, "propstat")
    for shard in range(2):
        answer = direct.copy(
            dav.endpoint("data"),
            s3.endpoint(folder),
            selection={"shard": {"index": shard, "count": 2}, "include": ["x", "good"]},
        )
        assert errors(answer) == [("permission_denied", "source", ["sub"])]
    assert s3.hashes(f"bucket/{folder}") == {"good": digest(b"1")}


HARMLESS: Final = {
    "the folder itself without a slash": b"/data",
    "the folder above": b"/",
    "the folder itself, of another prefix": b"/inner/data/",
    "a folder beside it": b"/beside/",
}


@pytest.mark.parametrize("entry", HARMLESS)
def test_odd_entry_that_loses_nothing_is_no_failure_without_the_gateway(
    entry: str, direct: Function, dav: Faulty, s3: Storage, folder: str
) -> None:
    expected = dav.fill("data", {"a": b"1", "sub/b": b"22"})
    href = b"<d:href>%s</d:href>" % HARMLESS[entry]
    more = (
        b"<d:response>%s<d:propstat><d:prop><d:resourcetype/></d:prop>"
        b"<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>" % href
    )
    dav.rewrite = lambda path, body: (
        body.replace(b"</d:multistatus>", more + b"</d:multistatus>") if path == "/data" else body
    )
    answer = direct.copy(dav.endpoint("data"), s3.endpoint(folder))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == expected


@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize("how", ["status", "href"])
def test_webdav_sides_are_told_apart_without_the_gateway(
    how: str, side: str, direct: Function, dav: Faulty
) -> None:
    # Both sides have the same path, which is all that rclone logs of a listing.
    with faulty_webdav.serving() as other:
        odd, right = dav, other
        if how == "status":
            odd.rewrite = lambda _, body: with_status(body, "/data/bad", 403, "propstat")
        else:
            odd.rewrite = lambda _, body: body.replace(b"<d:href>/data/", b"<d:href>/Data/")
        odd.fill("data", {"bad": b"22"})
        source, destination = (odd, right) if side == "source" else (right, odd)
        source.fill("data", {"good": b"1"})
        answer = direct.copy(source.endpoint("data"), destination.endpoint("data"))
        arrived = destination.hashes("data")
    if side == "destination":
        assert answer.status_code == 200, answer.text
        assert arrived == {"bad": digest(b"22"), "good": digest(b"1")}
    elif how == "status":
        assert errors(answer) == [("permission_denied", "source", ["bad"])]
        assert arrived == {"good": digest(b"1")}
    else:
        assert [(it[0], it[1]) for it in errors(answer)] == [("storage_error", "source")]
        assert arrived == {}
