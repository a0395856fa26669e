"""Storages that name checksums which are not those of their files, and files that are damaged."""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from support import odd_s3, odd_sftp
from support.misbehaving import s3 as misbehaving_s3
from support.misbehaving.troubles import Kind, Trouble
from support.odd_s3 import OddS3
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage, digest

FILES = {f"{name}.bin": name.encode() * (200 + 10 * n) for n, name in enumerate("abcdef")}
FILES |= {f"sub/{name}.bin": name.encode() * 300 for name in "xyz"}


def no_md5(key: str, etag: str) -> str:
    """An ETag of 32 digits that is no MD5, as those of objects that KMS has encrypted."""
    return hashlib.md5(f"{key} {etag}".encode(), usedforsecurity=False).hexdigest()


def an_md5(_: str, etag: str) -> str:
    """An ETag as it should be."""
    return etag


def of_others(digest: str, content: bytes) -> tuple[str, str]:
    """What the shell of a NAS prints, which sees another root."""
    return f"{no_md5('NAS', digest)}  file\n", ""


def missing(digest: str, content: bytes) -> tuple[str, str]:
    """What a shell prints that sees no such file."""
    return "", "md5sum: can't open 'file': No such file or directory\n"


def right(digest: str, content: bytes) -> tuple[str, str]:
    """What a shell prints as it should."""
    return f"{digest}  file\n", ""


class Ends(dict[str, Any]):
    """The servers, by name."""

    def storage(self, name: str) -> Storage:
        """A server's content."""
        found = self[name]
        return found.storage if isinstance(found, OddS3) else found

    def at(self, name: str, path: str) -> str:
        """A path, as the content has it."""
        return "/".join(filter(None, (self.storage(name).base, path)))


@pytest.fixture(scope="module")
def ends(storages: dict[str, Storage], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    with ExitStack() as running:
        s3 = storages["s3"]
        found = Ends(s3=s3)
        for name, etag, checks in (
            ("kms", no_md5, True),
            ("other kms", no_md5, True),
            ("strict s3", an_md5, True),
            ("damaged", damaged, True),
        ):
            found[name] = running.enter_context(odd_s3.before(s3))
            found[name].etag, found[name].checks = etag, checks
        for name, sums in (("sftp", right), ("nas", of_others), ("blind", missing)):
            folder = tmp_path_factory.mktemp(name)
            found[name] = running.enter_context(odd_sftp.running(folder, sums=sums))
        yield found


def copy(
    function: Function, ends: Ends, source: str, destination: str, folder: str, **more: Any
) -> Any:
    """Copy a folder, with a list of all files."""
    options = {"report": "all", **more.pop("options", {})}
    to = more.pop("to", f"to-{folder}")
    return function.copy(
        ends[source].endpoint(more.pop("path", folder)),
        ends[destination].endpoint(to),
        options=options,
        **more,
    )


def warnings(answer: Any) -> set[str]:
    return {group["code"] for group in checked_result(answer).get("warnings", ())}


def states(answer: Any) -> dict[str, str]:
    return {file["path"]: file["state"] for file in checked_result(answer)["files"]}


PAIRS = [
    ("kms", "s3"),
    ("kms", "strict s3"),
    ("kms", "sftp"),
    ("kms", "kms"),
    ("kms", "other kms"),
    ("nas", "s3"),
    ("nas", "strict s3"),
    ("blind", "s3"),
    ("s3", "kms"),
    ("s3", "nas"),
    ("s3", "blind"),
    ("sftp", "nas"),
]
FEW = [pair for pair in PAIRS if pair[0] in ("kms", "nas") and pair[1] in ("strict s3", "kms")]
FEW += [("s3", "kms"), ("s3", "nas")]
SELECTED = [("folder", *pair) for pair in PAIRS]
SELECTED += [("file", "kms", "strict s3"), ("file", "nas", "strict s3"), ("file", "s3", "nas")]
SELECTED += [("listed", "nas", "strict s3"), ("listed", "kms", "kms"), ("listed", "s3", "kms")]


@pytest.mark.field_case("H1", "H2")
@pytest.mark.parametrize(("selected", "source", "destination"), SELECTED)
def test_checksums_that_are_none_are_not_believed(
    selected: str, source: str, destination: str, function: Function, ends: Ends
) -> None:
    folder = uuid.uuid4().hex
    whole = ends.storage(source).fill(ends.at(source, folder), FILES)
    more: dict[str, Any] = {"options": {"attempts": 1}}
    if selected == "file":
        more |= {"path": f"{folder}/a.bin", "to": f"to-{folder}/"}
        whole = {"a.bin": whole["a.bin"]}
    elif selected == "listed":
        more["selection"] = {"files": [{"path": "a.bin"}, {"path": "sub/x.bin"}]}
        whole = {path: whole[path] for path in ("a.bin", "sub/x.bin")}

    answer = copy(function, ends, source, destination, folder, **more)

    assert answer.status_code == 200, answer.text
    assert states(answer) == dict.fromkeys(whole, "transferred")
    assert warnings(answer) == {"false_checksums"}
    assert checked_result(answer)["verification"]["mode"] == "size"
    to = ends.at(destination, f"to-{folder}")
    assert ends.storage(destination).hashes(to) == whole

    again = copy(function, ends, source, destination, folder, **more)
    assert again.status_code == 200, again.text
    if (selected, source) != ("file", destination):
        assert states(again) == dict.fromkeys(whole, "skipped")


@pytest.mark.field_case("H1", "H2")
@pytest.mark.parametrize(
    ("verify", "source", "destination"),
    [
        ("checksum", "kms", "s3"),
        ("checksum", "nas", "s3"),
        ("checksum", "s3", "kms"),
        ("download", "nas", "s3"),
    ],
)
def test_verification_says_by_what_files_were_compared(
    verify: str, source: str, destination: str, function: Function, ends: Ends
) -> None:
    folder = uuid.uuid4().hex
    whole = ends.storage(source).fill(ends.at(source, folder), FILES)

    for _ in range(2):
        found = copy(function, ends, source, destination, folder, options={"verify": verify})
        assert found.status_code == 200, found.text
        mode = {"checksum": "size"}.get(verify, verify)
        seen = {"mode": mode, "checked": len(whole), "differing": 0, "missing": 0}
        assert checked_result(found)["verification"] == seen
        assert ("compared_by_size" in warnings(found)) is (verify == "checksum")

    assert ends.storage(destination).hashes(ends.at(destination, f"to-{folder}")) == whole


@pytest.mark.parametrize("source", ["kms", "nas"])
def test_checksum_that_is_required_is_an_error_where_none_is_believed(
    source: str, function: Function, ends: Ends
) -> None:
    folder = uuid.uuid4().hex
    ends.storage(source).fill(ends.at(source, folder), FILES)
    options = {"verify": "checksum", "require_checksum": True}

    answer = copy(function, ends, source, "s3", folder, options=options)

    assert answer.status_code in (422, 502), answer.text
    assert {group["code"] for group in checked_result(answer)["errors"]} == {"unsupported"}


def damaged(key: str, etag: str) -> str:
    """The ETags of a server whose objects named `bad` have changed since they were stored."""
    return no_md5(key, etag) if key.rpartition("/")[2].startswith("bad") else etag


@pytest.mark.field_case("H1", variant="one damaged object beside good ones")
@pytest.mark.parametrize("destination", ["strict s3", "sftp"])
@pytest.mark.parametrize("selected", ["folder", "file", "listed", "rest is there", "alone"])
def test_object_that_is_damaged_is_not_copied(
    selected: str, destination: str, function: Function, ends: Ends
) -> None:
    """Beside good ones it is refused, and so it is if nothing tells whether it is damaged."""
    folder = uuid.uuid4().hex
    files = {"bad.bin": b"bad" * 50}
    if selected != "alone":
        files |= FILES
    ends["s3"].fill(ends.at("s3", folder), files)
    more: dict[str, Any] = {}
    if selected == "file":
        more |= {"path": f"{folder}/bad.bin", "to": f"to-{folder}/"}
    elif selected == "listed":
        more["selection"] = {"files": [{"path": "bad.bin"}]}
    elif selected == "rest is there":
        only = {"exclude": ["bad.bin"]}
        first = copy(function, ends, "damaged", destination, folder, selection=only)
        assert first.status_code == 200, first.text

    answer = copy(function, ends, "damaged", destination, folder, **more)

    assert answer.status_code == 502, answer.text
    assert {path for path, it in states(answer).items() if it == "failed"} == {"bad.bin"}
    [group] = checked_result(answer)["errors"]
    assert group["code"] == "checksum_mismatch"
    assert not warnings(answer)
    arrived = ends.storage(destination).hashes(ends.at(destination, f"to-{folder}"))
    assert "bad.bin" not in arrived
    if selected in ("folder", "rest is there"):
        assert len(arrived) == len(FILES)
    if selected in ("file", "listed", "alone"):
        said = "no other files" if selected == "alone" else "taken for damaged"
        assert said in group["samples"][0]["message"]


@pytest.mark.field_case("H1", "H2")
@pytest.mark.parametrize(("source", "destination"), [*FEW, ("blind", "s3"), ("s3", "blind")])
def test_request_that_compares_checksums_finds_nothing_to_do(
    source: str, destination: str, function: Function, ends: Ends
) -> None:
    folder = uuid.uuid4().hex
    whole = ends.storage(source).fill(ends.at(source, folder), FILES)
    options = {"compare": "checksum", "verify": "checksum"}

    for state in ("transferred", "skipped"):
        answer = copy(function, ends, source, destination, folder, options=options)
        assert answer.status_code == 200, answer.text
        assert states(answer) == dict.fromkeys(whole, state)
        assert warnings(answer) == {"false_checksums", "compared_by_size"}
        to = ends.at(destination, f"to-{folder}")
        assert ends.storage(destination).hashes(to) == whole


@pytest.mark.field_case("H1", "H2")
@pytest.mark.parametrize(
    ("compare", "source", "destination"),
    [
        *(("default", *pair) for pair in FEW),
        ("checksum", "kms", "strict s3"),
        ("checksum", "s3", "nas"),
    ],
)
def test_file_that_has_changed_is_copied_again(
    compare: str, source: str, destination: str, function: Function, ends: Ends
) -> None:
    """To one of the same size."""
    folder = uuid.uuid4().hex
    ends.storage(source).fill(ends.at(source, folder), FILES)
    options = {"compare": compare}
    assert copy(function, ends, source, destination, folder, options=options).status_code == 200
    time.sleep(1.1)  # object stores tell times by seconds
    changed = {**FILES, "b.bin": bytes(len(FILES["b.bin"]))}
    whole = ends.storage(source).fill(ends.at(source, folder), {"b.bin": changed["b.bin"]})

    answer = copy(function, ends, source, destination, folder, options=options)

    assert answer.status_code == 200, answer.text
    arrived = ends.storage(destination).hashes(ends.at(destination, f"to-{folder}"))
    assert arrived["b.bin"] == whole["b.bin"]


@pytest.mark.field_case("H1", "H2")
@pytest.mark.parametrize("destination", ["kms", "nas"])
@pytest.mark.parametrize("is_right", [True, False])
def test_checksum_of_request_is_compared_with_bytes_where_destination_names_another(
    *, is_right: bool, destination: str, function: Function, ends: Ends
) -> None:
    folder = uuid.uuid4().hex
    ends["s3"].fill(ends.at("s3", folder), FILES)
    checksum = hashlib.md5(FILES["a.bin"] if is_right else b"", usedforsecurity=False).hexdigest()
    listed = [{"path": "a.bin", "checksum": f"md5:{checksum}"}]
    for _ in range(2):
        answer = copy(function, ends, "s3", destination, folder, selection={"files": listed})
        assert answer.status_code == (200 if is_right else 502), answer.text


@pytest.mark.field_case("H1", variant="a destination that stores other bytes")
@pytest.mark.parametrize("source", ["s3", "kms"])
@pytest.mark.parametrize("verify", ["none", "checksum"])
def test_destination_that_stores_other_bytes_is_no_false_checksum(
    verify: str, source: str, function: Function, ends: Ends
) -> None:
    folder = uuid.uuid4().hex
    ends.storage(source).fill(ends.at(source, folder), FILES)
    with odd_s3.before(ends["s3"]) as changing:
        changing.store = lambda body: bytes(len(body))
        answer = function.copy(
            ends[source].endpoint(folder),
            changing.endpoint(f"to-{folder}"),
            options={"verify": verify, "attempts": 1, "report": "all"},
        )
    assert answer.status_code in (422, 502), answer.text
    assert set(states(answer).values()) == {"failed"}
    assert not ends["s3"].hashes(f"bucket/to-{folder}")
    assert not warnings(answer)


@pytest.mark.field_case("H1")
@pytest.mark.parametrize("verify", ["none", "size", "checksum"])
def test_source_that_changes_each_file_is_no_silent_success(
    verify: str, function: Function, ends: Ends
) -> None:
    """It cannot be told from one whose checksums are none."""
    folder = uuid.uuid4().hex
    files = {name: FILES[name] for name in ("a.bin", "b.bin", "sub/x.bin")}
    ends["s3"].fill(ends.at("s3", folder), files)
    with misbehaving_s3.before(ends["s3"]) as odd:
        odd.troubles.plan(Trouble(Kind.READ_CHANGED, f"{folder}/{name}") for name in files)
        answer = function.copy(
            odd.storage.endpoint(folder),
            ends["s3"].endpoint(f"to-{folder}"),
            options={"verify": verify, "attempts": 1, "report": "all"},
        )
    assert answer.status_code != 200 or "false_checksums" in warnings(answer)


@pytest.mark.field_case("J3")
@pytest.mark.parametrize(
    ("source", "destination", "has_times"),
    [("sftp", "s3", True), ("s3", "sftp", True), ("sftp", "wsgidav", False)],
)
@pytest.mark.parametrize(
    ("selected", "verify"), [("folder", "none"), ("file", "checksum"), ("listed", "checksum")]
)
def test_changed_file_of_same_size_is_copied_or_named_where_no_checksum_is_shared(
    selected: str,
    verify: str,
    source: str,
    destination: str,
    has_times: bool,
    function: Function,
    storages: dict[str, Storage],
) -> None:
    folder = uuid.uuid4().hex
    ours, theirs = storages[source], storages[destination]
    path, to = "/".join(filter(None, (ours.base, folder))), f"to-{folder}/"
    ours.fill(path, {"a.bin": b"aaa", "b.bin": b"old"})
    options = {"compare": "checksum", "verify": verify, "report": "all"}
    more: dict[str, Any] = {"options": options}
    if selected == "listed":
        more["selection"] = {"files": [{"path": "b.bin"}]}
    ends = ours.endpoint(f"{folder}/b.bin" if selected == "file" else folder), theirs.endpoint(to)
    assert function.copy(*ends, **more).status_code == 200
    time.sleep(1.1)  # some storages keep seconds
    ours.write(f"{path}/b.bin", b"new")

    answer = function.copy(*ends, **more)

    assert answer.status_code == 200, answer.text
    assert warnings(answer) == {"compared_by_size"}
    arrived = theirs.hashes("/".join(filter(None, (theirs.base, to.strip("/")))))
    if has_times:
        assert states(answer)["b.bin"] == "transferred"
        assert arrived["b.bin"] == digest(b"new")


@pytest.mark.field_case("J3")
def test_object_without_a_checksum_is_said_to_be_compared_by_size(
    function: Function, s3: Storage
) -> None:
    """As one that was uploaded in parts."""
    folder, client = uuid.uuid4().hex, s3.details["client"]

    def upload(content: bytes) -> None:
        key = {"Bucket": "bucket", "Key": f"{folder}/big.bin"}
        begun = client.create_multipart_upload(**key)["UploadId"]
        part = client.upload_part(**key, UploadId=begun, PartNumber=1, Body=content)
        parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
        client.complete_multipart_upload(**key, UploadId=begun, MultipartUpload=parts)

    for content in (b"old", b"new"):
        upload(content)
        options = {"compare": "checksum", "report": "all"}
        ends = s3.endpoint(folder), s3.endpoint(f"to-{folder}", region="us-east-2")
        answer = function.copy(*ends, options=options)
        assert answer.status_code == 200, answer.text

    is_there = s3.hashes(f"bucket/to-{folder}")["big.bin"] == digest(b"new")
    assert is_there or warnings(answer) == {"compared_by_size"}
