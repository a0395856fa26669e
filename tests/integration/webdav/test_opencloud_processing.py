"""Files that an OpenCloud post-processes, which it lists with status 425; compared by hash."""

from __future__ import annotations

import pytest

from support.opencloud import NEVER, OpenCloud, Request
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage, digest

FILES = {f"d{number % 3}/f{number}": b"%d" % number * 100 for number in range(12)}


@pytest.fixture
def path(request: pytest.FixtureRequest) -> str:
    """A folder that belongs to this test alone."""
    return digest(request.node.name.encode())[:12]


def fill(ocis: OpenCloud, files: dict[str, bytes]) -> dict[str, str]:
    for name, content in files.items():
        ocis.write(f"/data/{name}", content)
    return {name: digest(content) for name, content in files.items()}


@pytest.mark.field_case("L1", "A4")
@pytest.mark.parametrize("only", ["", "d1"])
def test_source_files_in_processing_are_waited_for(
    only: str, function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    # Before, the files that are not ready were left out of a success.
    expected = fill(ocis, FILES)
    ocis.process(f"/data/{only}", 1)
    answer = function.copy(ocis.storage().endpoint("data"), s3.endpoint(path))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{path}") == expected
    assert answer.json()["totals"]["files"]["transferred"] == len(FILES)


@pytest.mark.slow
def test_source_file_that_is_never_ready_is_named_as_busy(
    function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    expected = fill(ocis, {"ready": b"r", "busy": b"b"})
    ocis.process("/data/busy")
    options = {"deadline_seconds": 6, "report": "all"}
    answer = function.copy(ocis.storage().endpoint("data"), s3.endpoint(path), options=options)
    assert answer.status_code in (502, 503, 504), answer.text
    result = checked_result(answer)
    assert s3.hashes(f"bucket/{path}") == {"ready": expected["ready"]}
    (error,) = result["errors"]
    assert (error["code"], error["side"], error["retryable"]) == ("storage_busy", "source", True)
    assert [sample["path"] for sample in error["samples"]] == ["busy"]
    assert answer.elapsed.total_seconds() < 6 + 8


def test_selected_file_in_processing_is_waited_for(
    function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    expected = fill(ocis, {"a": b"a", "b": b"b"})
    ocis.process("/data/a", 1)
    answer = function.copy(
        ocis.storage().endpoint("data"),
        s3.endpoint(path),
        selection={"files": [{"path": "a", "size": 1}]},
    )
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{path}") == {"a": expected["a"]}


def test_single_file_in_processing_is_waited_for(
    function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    expected = fill(ocis, {"a": b"a"})
    ocis.process("/data/a", 1)
    answer = function.copy(ocis.storage().endpoint("data/a"), s3.endpoint(f"{path}/a"))
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{path}") == expected


def test_source_file_that_is_replaced_while_it_is_copied_is_waited_for(
    function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    ocis.archives = False  # each file has its GET
    fill(ocis, {"a": b"old", "b": b"b"})

    def replace(request: Request) -> None:
        if request.method == "GET" and request.path.endswith("/data/a"):
            ocis.on_request = lambda _: None
            ocis.write("/data/a", b"new and longer")
            ocis.process("/data/a", 1)

    ocis.on_request = replace
    answer = function.copy(ocis.storage().endpoint("data"), s3.endpoint(path))
    assert answer.status_code == 200, answer.text
    expected = {"a": digest(b"new and longer"), "b": digest(b"b")}
    assert s3.hashes(f"bucket/{path}") == expected


@pytest.mark.field_case("L2")
@pytest.mark.parametrize(
    "verify", [pytest.param("size", marks=pytest.mark.slow), "checksum", "download"]
)
def test_verification_waits_for_the_processing(
    verify: str, function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    expected = s3.fill(f"bucket/{path}", FILES)
    ocis.processing_seconds = 1
    options = {"verify": verify}
    destination = ocis.storage().endpoint("to")
    answer = function.copy(s3.endpoint(path), destination, options=options)
    assert answer.status_code == 200, answer.text
    verification = answer.json()["verification"]
    assert verification["checked"] == len(FILES), verification
    assert (verification["differing"], verification["missing"]) == (0, 0)
    assert ocis.hashes("/to") == expected
    assert not any(file.is_processing for file in ocis.uploaded)


@pytest.mark.parametrize("verify", ["size", pytest.param("checksum", marks=pytest.mark.slow)])
def test_file_that_processing_rejects_is_missing_in_the_verification(
    verify: str, function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    s3.fill(f"bucket/{path}", {"clean": b"c", "virus": b"v"})
    ocis.processing_seconds = 1
    ocis.rejects = lambda name: name == "virus"
    options = {"verify": verify, "attempts": 1}
    answer = function.copy(s3.endpoint(path), ocis.storage().endpoint("to"), options=options)
    assert answer.status_code == 502, answer.text
    assert checked_result(answer)["verification"]["missing"] == 1
    assert ocis.hashes("/to") == {"clean": digest(b"c")}


@pytest.mark.slow
def test_verification_of_a_file_that_is_never_ready_names_it_as_busy(
    function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    s3.fill(f"bucket/{path}", {"a": b"a"})
    ocis.processing_seconds = NEVER
    options = {"verify": "checksum", "deadline_seconds": 6}
    answer = function.copy(s3.endpoint(path), ocis.storage().endpoint("to"), options=options)
    assert answer.status_code in (502, 503, 504), answer.text
    (error,) = checked_result(answer)["errors"]
    assert (error["code"], error["side"], error["retryable"]) == (
        "storage_busy",
        "destination",
        True,
    )
    assert [sample["path"] for sample in error["samples"]] == ["a"]


@pytest.mark.field_case("L12")
@pytest.mark.parametrize("overwrite", ["never", "newer", "changed"])
def test_destination_file_in_processing_is_a_file_that_is_there(
    overwrite: str, function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    s3.fill(f"bucket/{path}", {"a": b"a", "sub/b": b"b"})
    ocis.processing_seconds = NEVER
    destination = ocis.storage().endpoint("to")
    options = {"overwrite": overwrite, "report": "all"}
    first = function.copy(s3.endpoint(path), destination, options=options)
    assert first.status_code == 200, first.text
    assert len(ocis.seen("PUT")) == 2
    again = function.copy(s3.endpoint(path), destination, options=options)
    assert again.status_code == 200, again.text
    assert again.json()["totals"]["files"]["skipped"] == 2, again.text
    assert len(ocis.seen("PUT")) == 2


def test_older_file_in_processing_is_replaced(
    function: Function, ocis: OpenCloud, s3: Storage, path: str
) -> None:
    ocis.write("/to/a", b"old", mtime=1_000_000_000)
    ocis.process("/to/a")
    s3.fill(f"bucket/{path}", {"a": b"newer"})
    options = {"overwrite": "newer"}
    answer = function.copy(s3.endpoint(path), ocis.storage().endpoint("to"), options=options)
    assert answer.status_code == 200, answer.text
    ocis.finish()
    assert ocis.hashes("/to") == {"a": digest(b"newer")}
