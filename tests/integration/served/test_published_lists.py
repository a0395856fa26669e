"""Data sets as repositories publish them: bags, RO-Crates, and records by their APIs."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any
from urllib.parse import quote

import pytest

from support.published import TIME, Published, manifest, redirect, send_file, stored
from support.service_process import Function
from support.storages import Storage, digest


def failures(answer: Any) -> dict[str, str]:
    """The codes of the files that failed."""
    document = answer.json()
    files = document.get("result", document)["files"]
    return {it["path"]: it["error"]["code"] for it in files if it["state"] == "failed"}


def bag_of(web: Published, contents: dict[str, bytes], fetched: dict[str, str]) -> dict[str, str]:
    """Publish a bag, of which some files are elsewhere; all its files and their hashes."""
    sums = [f"{digest(it)}  data/{path}" for path, it in contents.items()]
    tags = {
        "bagit.txt": b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        "manifest-sha256.txt": "\n".join(sums).encode(),
        "fetch.txt": "".join(
            f"{url} {len(contents[path])} data/{path}\n" for path, url in fetched.items()
        ).encode(),
    }
    lines = [f"{digest(it)} {name}" for name, it in tags.items()]
    tags["tagmanifest-sha256.txt"] = "\n".join(lines).encode()
    inside = {f"data/{quote(path)}": it for path, it in contents.items() if path not in fetched}
    web.fill(tags | inside, "/bag")
    return {name: digest(it) for name, it in tags.items()} | {
        f"data/{path}": digest(it) for path, it in contents.items()
    }


def test_bag_arrives_whole_and_a_second_run_skips_it(
    function: Function, web: Published, webdav: Storage, to: str
) -> None:
    contents = {"a.bin": os.urandom(5000), "b/c d.bin": os.urandom(10), "e": os.urandom(300_000)}
    web.fill({"far": contents["a.bin"]}, "/elsewhere")
    expected = bag_of(web, contents, {"a.bin": web.at("/elsewhere/far")})
    source = manifest(web.at("/bag/fetch.txt"))
    answer = function.copy(source, webdav.endpoint(to))
    assert answer.status_code == 200, answer.text
    assert stored(webdav, to) == expected
    assert web.read("/bag/data/a.bin") == []
    again = function.copy(source, webdav.endpoint(to))
    assert again.status_code == 200, again.text
    assert again.json()["totals"]["files"] == {
        "transferred": 0,
        "skipped": len(expected),
        "failed": 0,
    }


def test_bag_with_a_wrong_and_a_missing_file_is_partial(
    function: Function, web: Published, webdav: Storage, to: str
) -> None:
    contents = {"good": b"1", "wrong": b"22", "missing": b"333"}
    expected = bag_of(web, contents, {})
    web.answers["/bag/data/wrong"] = lambda it: send_file(it, b"xx")
    del web.files["/bag/data/missing"]
    answer = function.copy(
        manifest(web.at("/bag/"), format="bagit"), webdav.endpoint(to), options={"attempts": 1}
    )
    assert answer.status_code == 502
    assert failures(answer) == {
        "data/wrong": "checksum_mismatch",
        "data/missing": "source_not_found",
    }
    del expected["data/wrong"], expected["data/missing"]
    assert stored(webdav, to) == expected


def crate_of(web: Published, contents: dict[str, bytes]) -> dict[str, Any]:
    """Publish the files of an RO-Crate; its metadata."""
    web.fill({quote(path): content for path, content in contents.items()}, "/crate")
    files = [
        {
            "@id": quote(path),
            "@type": "File",
            "contentSize": str(len(content)),
            "sha256": digest(content),
        }
        for path, content in contents.items()
    ]
    root = {"@id": "./", "@type": "Dataset", "datePublished": "2026-01-31"}
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": [root, *files]}


def test_crate_arrives_with_its_metadata(
    function: Function, web: Published, webdav: Storage, to: str
) -> None:
    contents = {"data/ü 1.csv": b"1,2", "data/deep/b.bin": os.urandom(4000)}
    crate = crate_of(web, contents)
    crate["@graph"] += [
        {
            "@id": "https://far.example.org/a/web.csv?x=1",
            "@type": ["File", "SoftwareSourceCode"],
            "contentUrl": [{"@id": web.at("/far.csv")}],
        },
        {"@id": "../outside", "@type": "File"},
        {"@id": "data/", "@type": "Dataset"},
        {"@id": "#person", "@type": "Person"},
    ]
    web.files["/far.csv"] = b"far"
    web.files["/crate/ro-crate-metadata.json"] = json.dumps(crate).encode()
    answer = function.copy(manifest(web.at("/crate/ro-crate-metadata.json")), webdav.endpoint(to))
    assert answer.status_code == 502
    assert failures(answer) == {"../outside": "name_refused"}
    assert stored(webdav, to) == {
        **{path: digest(content) for path, content in contents.items()},
        "web.csv": digest(b"far"),
        "ro-crate-metadata.json": digest(web.files["/crate/ro-crate-metadata.json"]),
    }


@pytest.mark.slow
def test_crate_of_a_thousand_files_is_planned_and_arrives(
    function: Function, web: Published, webdav: Storage, to: str
) -> None:
    contents = {f"data/{i % 10}/{i}.bin": os.urandom(100 + i) for i in range(1000)}
    web.files["/crate/ro-crate-metadata.json"] = json.dumps(crate_of(web, contents)).encode()
    source = manifest(web.at("/crate/ro-crate-metadata.json"))
    plan = function.post({"source": source, "destination": webdav.endpoint(to)}, "/plan")
    assert plan.status_code == 200, plan.text
    assert plan.json()["files"] == 1001
    answer = function.copy(source, webdav.endpoint(to))
    assert answer.status_code == 200, answer.text
    found = stored(webdav, to)
    assert found.pop("ro-crate-metadata.json") == digest(web.files["/crate/ro-crate-metadata.json"])
    assert found == {path: digest(content) for path, content in contents.items()}
    again = function.copy(source, webdav.endpoint(to))
    assert again.json()["totals"]["files"]["skipped"] == 1001


def zenodo_of(web: Published, contents: dict[str, bytes]) -> list[dict[str, Any]]:
    """Publish the files of a record as Zenodo does; their description."""
    web.fill(
        {f"{quote(path)}/content": content for path, content in contents.items()},
        "/api/records/77/files",
    )
    return [
        {
            "key": path,
            "size": len(content),
            "checksum": f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}",
            "links": {"self": web.at(f"/api/records/77/files/{quote(path)}/content")},
        }
        for path, content in contents.items()
    ]


@pytest.mark.slow
def test_record_of_200_files_with_some_that_fail(
    function: Function, web: Published, webdav: Storage, to: str
) -> None:
    contents = {f"f {i}.bin": os.urandom(1000 + i) for i in range(200)}
    files = zenodo_of(web, contents)
    record = {"id": 77, "created": "2026-01-31T10:00:00.123456+00:00", "files": files}
    web.files["/api/records/77"] = json.dumps(record).encode()
    web.answers["/api/records/77/files/f%201.bin/content"] = redirect("http://10.0.0.1/x")
    web.answers["/api/records/77/files/f%202.bin/content"] = lambda it: send_file(it, b"other")
    del web.files["/api/records/77/files/f%203.bin/content"]
    source = manifest(web.at("/records/77"))
    answer = function.copy(source, webdav.endpoint(to), options={"attempts": 1})
    assert answer.status_code == 502
    assert failures(answer) == {
        "f 1.bin": "forbidden",
        "f 2.bin": "checksum_mismatch",
        "f 3.bin": "source_not_found",
    }
    web.answers.clear()
    web.files["/api/records/77/files/f%203.bin/content"] = contents["f 3.bin"]
    # The rest arrives, and what is there is not read again.
    web.seen.clear()
    again = function.copy(source, webdav.endpoint(to))
    assert again.status_code == 200, again.text
    assert again.json()["totals"]["files"] == {"transferred": 3, "skipped": 197, "failed": 0}
    assert stored(webdav, to) == {path: digest(content) for path, content in contents.items()}
    assert len(web.seen) == 4


def test_record_of_invenio_is_found_by_its_doi_page(
    function: Function, web: Published, webdav: Storage, to: str
) -> None:
    contents = {"a b.csv": b"1", "c.bin": os.urandom(2000)}
    entries = zenodo_of(web, contents)
    for entry in entries:
        entry["links"] = {"content": entry["links"]["self"]}
    web.files["/api/records/77"] = json.dumps(
        {"files": {"enabled": True}, "links": {"files": web.at("/api/records/77/files")}}
    ).encode()
    web.files["/api/records/77/files"] = json.dumps({"entries": entries}).encode()
    web.answers["/10.5072/x"] = redirect(web.at("/records/77"))
    web.files["/records/77"] = b"<html>A page</html>"
    answer = function.copy(manifest(web.at("/10.5072/x"), format="doi"), webdav.endpoint(to))
    assert answer.status_code == 200, answer.text
    assert stored(webdav, to) == {path: digest(content) for path, content in contents.items()}


def test_dataset_of_dataverse(function: Function, web: Published, webdav: Storage, to: str) -> None:
    original = b"a,b\n1,2\n"
    sha1 = hashlib.sha1(original, usedforsecurity=False).hexdigest()
    web.fill({"1": b"one", "2": original}, "/api/access/datafile")

    def md5(content: bytes) -> str:
        return hashlib.md5(content, usedforsecurity=False).hexdigest()

    files = [
        {
            "directoryLabel": "raw/x",
            "dataFile": {"id": 1, "filename": "one.bin", "filesize": 3, "md5": md5(b"one")},
        },
        {
            "dataFile": {
                "id": 2,
                "filename": "t.tab",
                "filesize": 99,
                "originalFileName": "t.csv",
                "originalFileSize": len(original),
                "checksum": {"type": "SHA-1", "value": sha1},
            }
        },
    ]
    body = {"status": "OK", "data": {"latestVersion": {"files": files}}}
    web.files["/api/datasets/:persistentId/"] = json.dumps(body).encode()
    source = manifest(web.at("/dataset.xhtml?persistentId=doi:10.5072/FK2/AB"))
    answer = function.copy(source, webdav.endpoint(to))
    assert answer.status_code == 200, answer.text
    assert stored(webdav, to) == {"raw/x/one.bin": digest(b"one"), "t.csv": digest(original)}
    targets = [target for _, target, _ in web.seen]
    assert "/api/datasets/:persistentId/?persistentId=doi:10.5072/FK2/AB" in targets
    assert "/api/access/datafile/2?format=original" in targets


@pytest.mark.parametrize(
    "body",
    [
        b'{"hello": 1}',
        *(pytest.param(it, marks=pytest.mark.slow) for it in (b"[]", b"{", b"<html></html>")),
    ],
)
def test_document_that_is_no_list_is_unsupported(
    function: Function, web: Published, webdav: Storage, to: str, body: bytes
) -> None:
    web.files["/list"] = body
    answer = function.copy(manifest(web.at("/list")), webdav.endpoint(to), options={"attempts": 1})
    assert (answer.status_code, answer.json()["code"]) == (422, "unsupported"), answer.text


def test_list_tells_the_times_that_it_has(function: Function, web: Published) -> None:
    web.files["/crate/ro-crate-metadata.json"] = json.dumps(crate_of(web, {"a": b"1"})).encode()
    answer = function.post({"endpoint": manifest(web.at("/crate/ro-crate-metadata.json"))}, "/list")
    assert answer.status_code == 200, answer.text
    found = {it["name"]: it for it in answer.json()["entries"]}
    assert found["a"]["size"] == 1
    assert found["a"]["modified"].startswith("2026-01-31T00:00:00")
    web.files["/list.tsv"] = f"TsvHttpData-1.0\n{web.at('/crate/a')}\n".encode()
    source = {**manifest(web.at("/list.tsv")), "path": "127.0.0.1/crate"}
    answer = function.post({"endpoint": source}, "/list")
    (one,) = answer.json()["entries"]
    # What the server says when it is asked for the size.
    assert one["size"] == 1
    assert one["modified"].startswith("2023-11-14T22:13:20"), TIME
