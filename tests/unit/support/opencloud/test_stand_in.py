"""The stand-in of OpenCloud where the real one was not asked by the probe: see its docstring."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from support import opencloud
from support.opencloud import OpenCloud
from support.storages import digest

BASE = "/remote.php/dav/files/alice"


@pytest.fixture
def cloud() -> Iterator[OpenCloud]:
    with opencloud.serving() as running:
        yield running


def ask(cloud: OpenCloud, method: str, path: str, **options: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {cloud.token()}", "Depth": "1"}
    headers |= options.pop("headers", {})
    url = cloud.url + BASE + path
    return requests.request(method, url, headers=headers, timeout=10, **options)


def test_file_in_post_processing_is_too_early_and_then_there(cloud: OpenCloud) -> None:
    cloud.processing_seconds = opencloud.NEVER
    assert ask(cloud, "PUT", "/f", data=b"new").status_code == 201
    assert ask(cloud, "PUT", "/empty", data=b"").status_code == 201
    assert ask(cloud, "GET", "/empty").status_code == 200
    listed = ask(cloud, "PROPFIND", "/").text
    assert "425 TOO EARLY" in listed
    assert "<d:getcontentlength>3<" in listed
    for method, status in {"GET": 425, "HEAD": 425, "DELETE": 425}.items():
        answer = ask(cloud, method, "/f")
        assert (answer.status_code, answer.headers.get("Retry-After")) == (status, None)
    to = {"Destination": f"{cloud.url}{BASE}/g"}
    assert ask(cloud, "COPY", "/f", headers=to).status_code == 500
    assert ask(cloud, "PUT", "/f", data=b"newer").status_code == 204
    assert ask(cloud, "MOVE", "/f", headers=to).status_code == 201
    cloud.finish()
    assert ask(cloud, "GET", "/g").content == b"newer"
    assert "425 TOO EARLY" not in ask(cloud, "PROPFIND", "/").text


def test_upload_that_is_cut_off_leaves_the_old_file(cloud: OpenCloud) -> None:
    cloud.write("/f", b"old")
    cloud.fail("PUT", "*", opencloud.reset(3))
    with pytest.raises(requests.ConnectionError):
        ask(cloud, "PUT", "/f", data=b"new and longer")
    assert ask(cloud, "GET", "/f").content == b"old"


def test_losing_upload_of_a_new_name_is_refused(cloud: OpenCloud) -> None:
    cloud.refuses_races = True
    address = urlsplit(cloud.url)
    slow = http.client.HTTPConnection(address.netloc, timeout=10)
    slow.putrequest("PUT", f"{BASE}/f")
    slow.putheader("Authorization", f"Bearer {cloud.token()}")
    slow.putheader("Content-Length", "2")
    slow.endheaders(b"a")
    while not any(one.received for one in cloud.seen("PUT")):
        time.sleep(0.002)
    assert ask(cloud, "PUT", "/f", data=b"whole").status_code == 201
    slow.send(b"b")
    assert slow.getresponse().status == 412
    slow.close()
    assert cloud.hashes() == {"f": digest(b"whole")}
