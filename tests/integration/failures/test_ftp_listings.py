"""FTP servers, mostly without MLSD: whatever rclone cannot read of their listings is reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from support import listing_ftp
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage, digest

FILES: Final = {
    "data/a.txt": b"1",
    "data/b.txt": b"22",
    "data/c d.txt": b"333",
    "data/sub/d.txt": b"4444",
    "data/sub/e.txt": b"55555",
}
WHOLE: Final = {name.removeprefix("data/"): digest(content) for name, content in FILES.items()}
GROUPS: Final = {
    "all with a space": ["domain users"],
    "every second": ["users", "domain users"],
    "three words": ["users", "a b c", "users"],
    "with a number": ["users", "group 7"],
}


def failed(answer: Any) -> tuple[set[str], set[tuple[str, str | None, bool]]]:
    """The paths of the samples, and code, side and retryable of the errors."""
    errors = answer.json()["result"]["errors"]
    paths = {sample.get("path", "") for error in errors for sample in error["samples"]}
    return paths, {(error["code"], error["side"], error["retryable"]) for error in errors}


@pytest.mark.field_case("E1")
@pytest.mark.parametrize(
    ("path", "groups"), [*(("data", groups) for groups in GROUPS), ("", "every second")]
)
def test_entry_that_cannot_be_read_is_a_failed_file(
    path: str, groups: str, function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    with listing_ftp.serving(tmp_path, groups=GROUPS[groups]) as server:
        server.fill("", FILES)
        for _ in range(2):
            answer = function.copy(server.endpoint(path), s3.endpoint(folder))
            assert answer.status_code != 200, answer.text
            paths, errors = failed(answer)
            assert errors == {("storage_error", "source", False)}, answer.text
            expected = {name if not path else name.removeprefix("data/") for name in FILES}
            arrived = s3.hashes(f"bucket/{folder}")
            lost = expected - arrived.keys()
            assert lost
            assert all(any(f"{name}/".startswith(f"{at}/") for at in paths) for name in lost)
            assert all(not name.startswith(tuple(paths)) for name in arrived)


@pytest.mark.field_case("E1")
def test_plan_and_dry_run_and_shard_report_an_entry_that_cannot_be_read(
    function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    with listing_ftp.serving(tmp_path, groups=["users", "domain users"]) as server:
        server.fill("", FILES)
        request = {"source": server.endpoint("data"), "destination": s3.endpoint(folder)}
        assert function.post(request, "/plan").status_code != 200
        assert function.post({**request, "options": {"dry_run": True}}).status_code != 200
        shards = [
            function.post({**request, "selection": {"shard": {"index": index, "count": 2}}})
            for index in range(2)
        ]
        assert any(shard.status_code != 200 for shard in shards)
        lost = {name for name in ("b.txt", "sub") if name in str([it.json() for it in shards])}
        assert lost


@pytest.mark.field_case("E1")
def test_entry_that_cannot_be_read_and_is_not_selected_is_no_failure(
    function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    with listing_ftp.serving(tmp_path, groups=["users", "domain users", "users"]) as server:
        server.fill("", FILES)
        answer = function.copy(
            server.endpoint("data"), s3.endpoint(folder), selection={"include": ["/a.txt"]}
        )
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == {"a.txt": WHOLE["a.txt"]}


@pytest.mark.field_case("E1", variant="a LIST in a form of its own")
@pytest.mark.parametrize("listing", ["{name} is a file of {size} bytes", "{size}\t{name}\t-"])
def test_listing_in_a_form_of_its_own_is_no_empty_folder(
    listing: str, function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    with listing_ftp.serving(tmp_path, line=listing) as server:
        server.fill("", FILES)
        answer = function.copy(server.endpoint("data"), s3.endpoint(folder))
    assert answer.status_code != 200, answer.text
    paths, errors = failed(answer)
    assert errors == {("storage_error", "source", False)}
    assert paths == {"a.txt", "b.txt", "c d.txt", "sub"}


@pytest.mark.field_case("E1")
@pytest.mark.parametrize("groups", [["users"], ["users", "domain users"]])
def test_lines_are_counted_where_a_server_tells_no_names(
    groups: list[str], function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    with listing_ftp.serving(tmp_path, lists_names=False, groups=groups) as server:
        server.fill("", FILES)
        answer = function.copy(server.endpoint("data"), s3.endpoint(folder))
    if groups == ["users"]:
        assert answer.status_code == 200, answer.text
        assert s3.hashes(f"bucket/{folder}") == WHOLE
        assert not answer.json().get("warnings")
    else:
        assert answer.status_code != 200, answer.text
        assert "lists 4 entries of this folder, and only 2 of them" in answer.text


@pytest.mark.field_case("E1")
@pytest.mark.parametrize("connections", [1, 2])
def test_comparison_that_a_server_has_no_connection_for_is_a_warning(
    connections: int, function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    with listing_ftp.serving(tmp_path, connections=connections) as server:
        server.fill("", FILES)
        answer = function.copy(
            server.endpoint("data"), s3.endpoint(folder), options={"transfers": 1}
        )
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == WHOLE
    warnings = [it["code"] for it in answer.json().get("warnings", ())]
    assert warnings == (["listing_unchecked"] if connections == 1 else [])


@pytest.mark.field_case("E1", "E2")
@pytest.mark.parametrize("groups", [["users"], ["domain-users", "x"]])
@pytest.mark.parametrize("mlsd", [False, True])
def test_listing_that_can_be_read_is_copied_whole(
    groups: list[str],
    mlsd: bool,
    function: Function,
    s3: Storage,
    folder: str,
    tmp_path: Path,
) -> None:
    hidden = {"data/.hidden": b"h", "data/sub/.git/config": b"c", "data/sub/.x": b""}
    with listing_ftp.serving(tmp_path, groups=groups, mlsd=mlsd) as server:
        expected = server.fill("", FILES | hidden)
        answer = function.copy(
            server.endpoint("data"), s3.endpoint(folder), options={"verify": "size"}
        )
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == {
        name.removeprefix("data/"): content for name, content in expected.items()
    }
    assert not answer.json().get("warnings")


@pytest.mark.field_case("E2")
def test_hidden_files_at_the_destination_are_found_by_the_next_request(
    function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    s3.fill(f"bucket/{folder}", {".a": b"1", "b/.c": b"22"})
    with listing_ftp.serving(tmp_path) as server:
        for number in range(2):
            answer = function.copy(
                s3.endpoint(folder), server.endpoint("to"), options={"compare": "size"}
            )
            assert answer.status_code == 200, answer.text
            assert answer.json()["totals"]["files"]["transferred"] == (0 if number else 2)


@pytest.mark.field_case("E2")
def test_server_that_does_not_know_the_option_is_copied_all_the_same(
    function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    with listing_ftp.serving(tmp_path, understands_a=False) as server:
        server.fill("", FILES)
        answer = function.copy(server.endpoint("data"), s3.endpoint(folder))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == WHOLE


UNREADABLE: Final[dict[str, Callable[[bytes], bytes]]] = {
    "size": lambda line: line.replace(b"size=", b"size=about "),
    "time": lambda line: line.replace(b"modify=", b"modify=on "),
    "no space": lambda line: line.replace(b"; ", b";"),
    "words": lambda _: b"odd: Permission denied\r\n",
    "half": lambda line: line[: line.index(b";") + 1] + b"\r\n",
}


@pytest.mark.field_case("E1", variant="MLSD with a size that is no number")
@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("at", ["", "sub/"])
def test_line_of_mlsd_that_cannot_be_read_is_no_success(
    kind: str, at: str, function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    # rclone leaves out the line, and logs nothing.
    def facts(line: bytes) -> bytes:
        return UNREADABLE[kind](line) if line.endswith(b" odd\r\n") else line

    files = {"a": b"1", f"{at}odd": b"22", f"{at}b": b"333", "empty": b""}
    has_names = at == ""
    with listing_ftp.serving(tmp_path, mlsd=True, facts=facts, lists_names=has_names) as server:
        expected = server.fill("data", files)
        answer = function.copy(server.endpoint("data"), s3.endpoint(folder))
    assert answer.status_code == 502, answer.text
    (error,) = checked_result(answer)["errors"]
    assert (error["code"], error["side"]) == ("storage_error", "source")
    (sample,) = error["samples"]
    # Where neither the line nor NLST has a name, the folder is the one that was not read.
    named = f"{at}odd" if has_names or kind in ("size", "time") else at.rstrip("/")
    assert sample.get("path", "") == named
    expected.pop(f"{at}odd")
    assert s3.hashes(f"bucket/{folder}") == expected


def test_names_of_mlsd_with_signs_and_spaces_are_all_copied(
    function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    files = {name: name.encode() for name in (" a", "b;c", "d; e", "f=g", ".h", "i j/k; l")}
    with listing_ftp.serving(tmp_path, mlsd=True) as server:
        expected = server.fill("data", files)
        answer = function.copy(server.endpoint("data"), s3.endpoint(folder))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == expected
    assert "warnings" not in answer.json()


ENDS: Final = ["226 Output truncated to 2 matches", "226 4 matches total"]


@pytest.mark.field_case("E1", variant="226 Output truncated")
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("mlsd", [False, True])
def test_folder_that_the_server_says_it_lists_in_part_is_no_success(
    mlsd: bool, end: str, function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    # Pure-FTPd lists 10,000 entries of a folder, and rclone does not read what it says then.
    files = {name: name.encode() for name in ("a", "b", "c", "d")}
    with listing_ftp.serving(tmp_path, mlsd=mlsd, most=2, end=end) as server:
        server.fill("data", files)
        answer = function.copy(server.endpoint("data"), s3.endpoint(folder))
    assert answer.status_code == 502, answer.text
    (error,) = checked_result(answer)["errors"]
    assert (error["code"], error["side"]) == ("storage_error", "source")


@pytest.mark.field_case("E2", variant="MLSD without an entry that NLST has")
@pytest.mark.parametrize("lost", ["c", "sub/"])
def test_entry_that_mlsd_lacks_and_nlst_has_is_no_success(
    lost: str, function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    def facts(line: bytes) -> bytes:
        return b"" if line.endswith(f" {lost.rstrip('/')}\r\n".encode()) else line

    with listing_ftp.serving(tmp_path, mlsd=True, facts=facts) as server:
        expected = server.fill("data", {"a": b"1", "c": b"22", "sub/d": b"333"})
        answer = function.copy(server.endpoint("data"), s3.endpoint(folder))
    assert answer.status_code == 502, answer.text
    (error,) = checked_result(answer)["errors"]
    assert [sample["path"] for sample in error["samples"]] == [lost.rstrip("/")]
    arrived = {path: it for path, it in expected.items() if not path.startswith(lost)}
    assert s3.hashes(f"bucket/{folder}") == arrived


def test_dangling_link_that_nlst_names_is_no_failure(
    function: Function, s3: Storage, folder: str, tmp_path: Path
) -> None:
    def facts(line: bytes) -> bytes:
        return b"" if line.endswith(b" link\r\n") else line

    with listing_ftp.serving(tmp_path, mlsd=True, facts=facts, end="226 2 matches total") as server:
        expected = server.fill("data", {"a": b"1", "b": b"22"})
        (tmp_path / "data/link").symlink_to("nothing")
        answer = function.copy(server.endpoint("data"), s3.endpoint(folder))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{folder}") == expected
