"""The mistakes of newcomers, by HTTP: each answer says what, where, and what to do."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from support import faulty_webdav, service_process
from support.contract import complaints
from support.faulty_webdav import Faulty
from support.service_process import LOOPBACK, Function
from support.storages import Storage

STREAM = "application/x-ndjson, application/problem+json"


@pytest.fixture(scope="module")
def running(
    tmp_path_factory: pytest.TempPathFactory, storages: dict[str, Storage]
) -> Iterator[Function]:
    """A service with a storage of its site."""
    s3 = storages["s3"]
    keys = {"access_key_id": {"env": "ARCHIVE_ID"}, "secret_access_key": {"env": "ARCHIVE_SECRET"}}
    archive = {"type": "s3", "parameters": {**s3.parameters, **keys}, "root": "bucket"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARCHIVE_ID", s3.parameters["access_key_id"])
        patch.setenv("ARCHIVE_SECRET", s3.parameters["secret_access_key"])
        site = {**LOOPBACK, "storages": {"archive": archive}}
        with service_process.function(tmp_path_factory.mktemp("frictions"), site=site) as made:
            yield made


@pytest.fixture(scope="module")
def cloud() -> Iterator[Faulty]:
    with faulty_webdav.serving() as dav:
        dav.nextcloud.fill("Photos", {"a.txt": b"a"})
        yield dav


@pytest.fixture
def name(webdav: Storage) -> str:
    """A folder of the source with one file, and the name of one of the destination."""
    made = uuid.uuid4().hex
    webdav.fill(made, {"a.txt": b"a"})
    return made


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens at, and that nobody else gets meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def problem(answer: Any, status: int, code: str) -> Any:
    """The problem that an answer is."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert complaints("problem", document) == []
    assert document["code"] == code
    return document


def mistakes(answer: Any, status: int = 400, code: str = "invalid_request") -> dict[str, str]:
    """What is wrong, by the pointer to it."""
    return {it["pointer"]: it["message"] for it in problem(answer, status, code)["errors"]}


@pytest.mark.parametrize(
    "page",
    [
        "/apps/files/files/123?dir=/Photos",
        "/apps/files/?dir=/Photos&fileid=123",
        "/index.php/apps/files/?dir=/",
        "/index.php/apps/files",
        "/f/123",
        "/login?redirect_url=/apps/files",
        "",
    ],
)
@pytest.mark.parametrize("path", ["", "/list", "/check"])
def test_nextcloud_address_as_the_browser_shows_it_is_answered_with_the_right_one(
    running: Function, cloud: Faulty, s3: Storage, page: str, path: str
) -> None:
    nextcloud = cloud.nextcloud
    right = nextcloud.parameters["url"]
    origin, _, _ = right.partition("/remote.php")
    end = {**nextcloud.endpoint("Photos", url=origin + page)}
    request = {"endpoint": end} if path else {"source": end, "destination": s3.endpoint("x")}
    [(pointer, message)] = mistakes(running.post(request, path)).items()
    assert pointer == ("/endpoint" if path else "/source") + "/parameters/url"
    assert message.rstrip(".").endswith(right.rstrip("/"))
    assert nextcloud.parameters["pass"] not in message


def test_address_that_the_answer_names_works(
    running: Function, cloud: Faulty, s3: Storage, name: str
) -> None:
    nextcloud = cloud.nextcloud
    content = os.urandom(10_000)
    hashes = nextcloud.fill(name, {"a.bin": content})
    origin, _, _ = nextcloud.parameters["url"].partition("/remote.php")
    seen = f"{origin}/apps/files/files/123?dir=/{name}"
    ends = {"source": nextcloud.endpoint(name, url=seen), "destination": s3.endpoint(name)}
    [message] = mistakes(running.post(ends)).values()
    named = message.rpartition(" ")[2].removesuffix(".")
    answer = running.post({**ends, "source": nextcloud.endpoint(name, url=named)})
    assert answer.status_code == 200, answer.text
    assert s3.hashes(f"bucket/{name}") == hashes


def test_public_link_is_answered_with_its_address(
    running: Function, cloud: Faulty, s3: Storage
) -> None:
    origin, _, _ = cloud.nextcloud.parameters["url"].partition("/remote.php")
    source = cloud.nextcloud.endpoint("", url=f"{origin}/s/aBcDeF?path=%2FPhotos")
    answer = running.post({"source": source, "destination": s3.endpoint("x")})
    assert f"{origin}/public.php/dav/files/aBcDeF" in mistakes(answer)["/source/parameters/url"]


def test_query_of_another_server_is_a_mistake_of_the_form(
    running: Function, webdav: Storage, s3: Storage
) -> None:
    url = f"{webdav.parameters['url']}/files?canary=1"
    answer = running.post({"source": webdav.endpoint("", url=url), "destination": s3.endpoint("x")})
    message = mistakes(answer)["/source/parameters/url"]
    assert message.startswith("Must be an http or https URL")
    assert "canary" not in answer.text


def test_misspelt_bucket_blames_its_side(
    running: Function, webdav: Storage, s3: Storage, name: str
) -> None:
    misspelt = {**s3.endpoint(), "path": f"bukcet/{name}"}
    to = problem(running.copy(webdav.endpoint(name), misspelt), 422, "destination_not_found")
    assert "`bukcet`" in to["detail"]
    assert "Check `path`" in to["detail"]
    assert "at the source" not in to["detail"]
    assert to["result"]["errors"][0]["side"] == "destination"

    from_it = problem(running.copy(misspelt, webdav.endpoint("to")), 422, "source_not_found")
    assert from_it["detail"].startswith("The source does not exist: ")
    assert from_it["detail"].endswith("Check `path` of the source.")
    assert from_it["result"]["errors"][0]["side"] == "source"

    listed = problem(running.post({"endpoint": misspelt}, "/list"), 422, "source_not_found")
    assert "Check `path`" in listed["detail"]


def test_checksum_that_both_do_not_have_is_told_with_the_way_out(
    running: Function, webdav: Storage, name: str
) -> None:
    ends = webdav.endpoint(name), webdav.endpoint(f"{name}-there")
    answer = running.copy(*ends, options={"verify": "checksum"})
    assert answer.status_code == 200, answer.text
    [warning] = answer.json()["warnings"]
    assert warning["code"] == "compared_by_size"
    assert "set `options.verify` to `download`" in warning["message"]
    assert answer.json()["verification"]["mode"] == "size"
    assert webdav.hashes(f"{name}-there") == webdav.hashes(name)

    strict = {"verify": "checksum", "require_checksum": True}
    refused = problem(running.copy(*ends, options=strict), 502, "partial")
    assert refused["result"]["errors"][0]["code"] == "unsupported"
    assert "Set `options.verify` to `download`" in refused["detail"]


def test_forgotten_path_is_told_by_its_side(
    running: Function, webdav: Storage, s3: Storage, name: str
) -> None:
    here, there = webdav.endpoint(name), s3.endpoint(name)
    del here["path"]
    assert mistakes(running.copy(here, there)) == {"/source": "Missing: path."}
    assert mistakes(running.copy(there, here)) == {"/destination": "Missing: path."}
    assert mistakes(running.post({"endpoint": here}, "/check")) == {"/endpoint": "Missing: path."}


def test_path_that_does_not_exist_blames_the_source(
    running: Function, webdav: Storage, s3: Storage, name: str
) -> None:
    answer = running.copy(webdav.endpoint(f"{name}-misspelt"), s3.endpoint(name))
    missing = problem(answer, 422, "source_not_found")
    assert missing["detail"].endswith("Check `path` of the source.")
    assert "destination" not in missing["detail"]
    assert s3.hashes(f"bucket/{name}") == {}


def test_wrong_port_blames_its_side(
    running: Function, webdav: Storage, s3: Storage, name: str, closed_port: int
) -> None:
    address = f"127.0.0.1:{closed_port}"
    advice = f"{address}: connection refused. Check its address and its port, and whether it runs."
    once = {"attempts": 1}
    wrong = webdav.endpoint(name, url=f"http://{address}/dav")
    source = problem(
        running.copy(wrong, s3.endpoint(name), options=once), 502, "storage_unreachable"
    )
    assert source["detail"] == f"The storage could not be reached, at the source: {advice}"
    wrong = s3.endpoint(name, endpoint=f"http://{address}")
    destination = problem(
        running.copy(webdav.endpoint(name), wrong, options=once), 502, "storage_unreachable"
    )
    assert destination["detail"] == (
        f"The storage could not be reached, at the destination: {advice}"
    )
    listed = problem(running.post({"endpoint": wrong}, "/list"), 502, "storage_unreachable")
    assert listed["detail"] == f"The storage could not be reached: {advice}"


@pytest.mark.parametrize("named", ["archiv", "Archive", "archives"])
def test_misspelt_storage_is_answered_with_the_one_that_was_meant(
    running: Function, webdav: Storage, name: str, named: str
) -> None:
    answer = running.copy(webdav.endpoint(name), {"storage": named, "path": name})
    [(pointer, message)] = mistakes(answer, 403, "forbidden").items()
    assert pointer == "/destination/storage"
    assert message.endswith("Did you mean `archive`?")
    meant = running.copy(webdav.endpoint(name), {"storage": "archive", "path": name})
    assert meant.status_code == 200, meant.text


def test_every_misspelt_name_is_answered_at_once_with_the_one_that_was_meant(
    running: Function, webdav: Storage, s3: Storage
) -> None:
    here, there = webdav.endpoint("a", vendor="nextclod"), s3.endpoint("b", provider="minio")
    there["parameters"]["secret_key"] = there["parameters"].pop("secret_access_key")
    found = mistakes(
        running.post(
            {
                "source": here,
                "destination": {**there, "pth": "x"},
                "options": {"verfy": "size", "compare": "checksums"},
                "selction": {},
            }
        )
    )
    meant = {
        "/source/parameters/vendor": "nextcloud",
        "/destination/parameters/provider": "Minio",
        "/destination/parameters/secret_key": "secret_access_key",
        "/destination/pth": "path",
        "/options/verfy": "verify",
        "/options/compare": "checksum",
        "/selction": "selection",
    }
    for pointer, it in meant.items():
        assert found[pointer].endswith(f"Did you mean `{it}`?"), pointer
    kind = mistakes(running.copy({**here, "type": "nextcloud"}, {"storage": "archive", "path": ""}))
    assert kind["/source/type"].endswith("Did you mean `webdav`?")


def test_stream_and_problem_are_accepted_side_by_side(
    running: Function, webdav: Storage, s3: Storage, name: str
) -> None:
    ends = {"source": webdav.endpoint(name), "destination": s3.endpoint(name)}
    streamed = running.post(ends, headers={"Accept": STREAM})
    assert streamed.status_code == 200
    assert streamed.headers["Content-Type"].startswith("application/x-ndjson")
    assert '"event": "result"' in streamed.text.splitlines()[-1].replace('":"', '": "')
    assert s3.hashes(f"bucket/{name}") == webdav.hashes(name)
    wrong = running.post({**ends, "sorce": {}}, headers={"Accept": STREAM})
    assert mistakes(wrong)["/sorce"].endswith("Did you mean `source`?")


def test_wrong_path_of_the_service_is_told_where_to_look(running: Function) -> None:
    lost = problem(running.post({}, "/transfer"), 404, "not_found")
    assert lost["detail"] == "GET / lists the paths of this service."
