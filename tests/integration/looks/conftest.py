"""How the tests of looks ask the service, and what they need of any answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from support import faulty_webdav, nextcloud, service_process
from support.contract import complaints
from support.faulty_webdav import Faulty
from support.nextcloud import Nextcloud
from support.service_process import Function

Ask = Callable[..., requests.Response]


@pytest.fixture
def dav() -> Iterator[Faulty]:
    with faulty_webdav.serving() as running:
        yield running


@pytest.fixture
def cloud() -> Iterator[Nextcloud]:
    with nextcloud.serving() as running:
        yield running


@pytest.fixture(scope="module")
def with_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    runtime = tmp_path_factory.mktemp("gw")
    with service_process.function(runtime, WEBDAV_GATEWAY="1") as running:
        yield running
        running.wait_clean()


@pytest.fixture
def listed(function: Function) -> Ask:
    """Asks for a listing; any answer fits its schema and has no secret of the request."""

    def ask(endpoint: dict[str, Any], by: Function = function, **members: Any) -> requests.Response:
        body = {"endpoint": endpoint, **members}
        assert complaints("list-request", body) == []
        answer = by.post(body, path="/list")
        name = "listing" if answer.status_code == 200 else "problem"
        assert complaints(name, answer.json()) == [], answer.text
        assert_no_secret(endpoint, answer.text)
        assert_no_secret(endpoint, by.log.read_text())
        return answer

    return ask


def assert_no_secret(endpoint: dict[str, Any], text: str) -> None:
    parameters = endpoint.get("parameters", {})
    for name in ("pass", "secret_access_key", "bearer_token"):
        if name in parameters:
            assert parameters[name] not in text


@pytest.fixture
def checked(function: Function) -> Ask:
    """Asks for a check; any answer fits its schema and has no secret of the request."""

    def ask(endpoint: dict[str, Any], by: Function = function, **members: Any) -> requests.Response:
        body = {"endpoint": endpoint, **members}
        assert complaints("check-request", body) == []
        answer = by.post(body, path="/check")
        name = "check" if answer.status_code == 200 else "problem"
        assert complaints(name, answer.json()) == [], answer.text
        assert_no_secret(endpoint, answer.text)
        assert_no_secret(endpoint, by.log.read_text())
        return answer

    return ask
