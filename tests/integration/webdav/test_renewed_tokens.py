"""Tokens that end in the middle of a copy are renewed, and no file fails."""

from __future__ import annotations

import base64
import http.server
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs

import pytest

from support import service_process
from support.http_servers import misbehaving, reply
from support.opencloud import OpenCloud, Request
from support.outcomes import checked_result
from support.service_process import Function
from support.storages import Storage

SECRET: Final = "canary-secret-of-the-token-source"
CLIENT: Final = {"client_id": "transfer", "client_secret": "canary-secret-of-the-client"}
EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"


@dataclass
class Issuer:
    """A server that issues tokens for an OpenCloud. `answer` may return another answer."""

    cloud: OpenCloud
    seconds: float
    says_seconds: bool = True
    url: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """The Authorization header and the form of each request."""
    issued: list[str] = field(default_factory=list)
    answer: Callable[[int], tuple[int, Any] | None] = lambda _: None

    def __call__(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        del handler.headers["Content-Length"]  # `reply` would read it once more
        form = {name: value for name, (value,) in parse_qs(body.decode()).items()}
        self.asked.append((handler.headers.get("Authorization", ""), form))
        status, found = self.answer(len(self.asked)) or (200, self.token())
        text = found if isinstance(found, bytes) else json.dumps(found).encode()
        reply(handler, status, text, "application/json")

    def token(self) -> dict[str, Any]:
        self.issued.append(self.cloud.token(self.seconds))
        answer = {"access_token": self.issued[-1], "token_type": "bearer"}
        return answer | ({"expires_in": self.seconds} if self.says_seconds else {})

    def endpoint(self, path: str, **parameters: str) -> dict[str, Any]:
        """An endpoint of the cloud that has its tokens from here."""
        end = self.cloud.storage().endpoint(path)
        del end["parameters"]["bearer_token"]
        end["parameters"] |= parameters or {
            "token_source": self.url,
            "token_source_secret": SECRET,
        }
        return end

    def secrets(self) -> set[str]:
        return {SECRET, CLIENT["client_secret"], *self.issued}


@contextmanager
def issuing(cloud: OpenCloud, seconds: float, **more: Any) -> Iterator[Issuer]:
    issuer = Issuer(cloud, seconds, **more)
    with misbehaving(issuer) as url:
        issuer.url = f"{url}/token"
        yield issuer


def files(count: int, size: int = 20_000) -> dict[str, bytes]:
    return {f"d{number % 3}/{number:03}": b"%d" % number * size for number in range(count)}


def basic() -> str:
    text = f"{CLIENT['client_id']}:{CLIENT['client_secret']}"
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("seconds", "count"),
    [(2.0, 40), pytest.param(20, 350, marks=pytest.mark.slow)],
    ids=["six seconds", "two minutes"],
)
def test_tokens_of_both_sides_end_again_and_again(
    seconds: float, count: int, function: Function, ocis: OpenCloud
) -> None:
    """Both sides by a token source, in a copy that takes four tokens and more."""
    expected = ocis.storage().fill("data", files(count))
    began = time.monotonic()
    with issuing(ocis, seconds) as source, issuing(ocis, seconds) as destination:
        body = {
            "source": source.endpoint("data"),
            "destination": destination.endpoint("to"),
            "options": {"bandwidth_limit": 150_000, "attempts": 1, "verify": "size"},
        }
        answer = function.post(body, timeout=300)
        took = time.monotonic() - began
    assert answer.status_code == 200, answer.text
    assert took > 3 * seconds
    assert ocis.hashes("to") == expected
    for issuer in (source, destination):
        assert {header for header, _ in issuer.asked} == {f"Bearer {SECRET}"}
        # Each is renewed when a third of its life is left, once for all connections; and on a
        # machine that stands still for that third, once more.
        assert 3 <= len(issuer.asked) <= 2 * took / (seconds * 2 / 3) + 2
    shown = answer.text + function.log.read_text("utf-8")
    assert not [secret for secret in source.secrets() | destination.secrets() if secret in shown]


@pytest.mark.parametrize("side", ["source", "destination"])
def test_token_that_the_server_ends_early_is_replaced_once_for_all(
    side: str, function: Function, ocis: OpenCloud, s3: Storage, folder: str
) -> None:
    """The issuer does not say how long it is valid."""
    content = files(120, 20)
    ours = {"source": ocis.storage(), "destination": s3}[side]
    expected = ours.fill("data" if side == "source" else f"bucket/{folder}", content)
    ended: list[bool] = []

    def end(_: Request) -> None:
        # Most files come in archives, so that there are few requests for them.
        method, count = ("GET", 3) if side == "source" else ("PUT", 20)
        if not ended and sum(ocis.statuses(method).values()) >= count:
            ended.append(True)
            ocis.expire_tokens()

    ocis.on_request = end
    with issuing(ocis, 3600, says_seconds=False) as issuer:
        ends = [issuer.endpoint("data" if side == "source" else "to"), s3.endpoint(folder)]
        source, destination = ends if side == "source" else reversed(ends)
        answer = function.copy(source, destination)
        assert answer.status_code == 200, answer.text
        assert ended
        assert len(issuer.asked) == 2
    there = s3.hashes(f"bucket/{folder}") if side == "source" else ocis.hashes("to")
    assert there == expected


@pytest.mark.parametrize("given", [None, "token-of-the-caller"])
def test_client_of_the_site_gets_a_token_of_its_own_or_by_exchange(
    given: str | None, function: Function, ocis: OpenCloud, s3: Storage, folder: str
) -> None:
    expected = s3.fill(f"bucket/{folder}", files(5, 100))
    more = {} if given is None else {"bearer_token": given}
    with issuing(ocis, 60) as issuer:
        end = issuer.endpoint(
            "to", token_endpoint=issuer.url, token_scope="files", **CLIENT, **more
        )
        answer = function.copy(s3.endpoint(folder), end)
    assert answer.status_code == 200, answer.text
    assert ocis.hashes("to") == expected
    [(header, form)] = issuer.asked
    assert header == basic()
    assert form["scope"] == "files"
    if given is None:
        assert form["grant_type"] == "client_credentials"
    else:
        assert form["grant_type"] == EXCHANGE
        assert form["subject_token"] == given


def test_exchange_goes_on_when_the_token_of_the_caller_has_ended(
    function: Function, ocis: OpenCloud, s3: Storage, folder: str
) -> None:
    expected = s3.fill(f"bucket/{folder}", files(40))

    with issuing(ocis, 1.5) as issuer:

        def answer_of(number: int) -> tuple[int, Any] | None:
            ended = issuer.asked[-1][1]["subject_token"] == "short"
            return (400, {"error": "invalid_grant"}) if number > 1 and ended else None

        issuer.answer = answer_of
        end = issuer.endpoint("to", token_endpoint=issuer.url, bearer_token="short", **CLIENT)
        options = {"bandwidth_limit": 150_000, "attempts": 1}
        answer = function.copy(s3.endpoint(folder), end, options=options)
    assert answer.status_code == 200, answer.text
    assert ocis.hashes("to") == expected
    subjects = [form["subject_token"] for _, form in issuer.asked]
    assert subjects[0] == "short"
    assert issuer.issued[0] in subjects


def test_source_that_fails_for_a_moment_costs_nothing(
    function: Function, ocis: OpenCloud, s3: Storage, folder: str
) -> None:
    expected = s3.fill(f"bucket/{folder}", files(3, 10))
    with issuing(ocis, 60) as issuer:
        issuer.answer = lambda number: (503, {"error": "busy"}) if number <= 2 else None
        answer = function.copy(s3.endpoint(folder), issuer.endpoint("to"))
    assert answer.status_code == 200, answer.text
    assert ocis.hashes("to") == expected
    assert len(issuer.asked) == 3


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (403, {"error": "access_denied", "error_description": "no"}, "403 (access_denied: no)"),
        (302, b"", "answered 302"),
        (200, b"<html>Sign in</html>", "without a token that can be used"),
        (200, {"token_type": "bearer"}, "without a token that can be used"),
        (200, {"access_token": "a\r\nb"}, "without a token that can be used"),
        (200, {"access_token": "abc", "token_type": "mac"}, "without a token that can be used"),
        (200, {"access_token": "abc", "expires_in": -1}, "without a token that can be used"),
    ],
)
@pytest.mark.parametrize("side", ["source", "destination"])
def test_source_that_gives_no_token_is_named(
    side: str,
    status: int,
    body: Any,
    told: str,
    function: Function,
    ocis: OpenCloud,
    s3: Storage,
    folder: str,
) -> None:
    s3.fill(f"bucket/{folder}", files(3, 10))
    with issuing(ocis, 60) as issuer:
        issuer.answer = lambda _: (status, body)
        ends = [issuer.endpoint("data"), s3.endpoint(folder)]
        source, destination = ends if side == "source" else reversed(ends)
        answer = function.copy(source, destination)
    assert (answer.status_code, answer.json()["code"]) == (422, "authentication_failed")
    (error,) = checked_result(answer)["errors"]
    assert (error["code"], error["side"]) == ("authentication_failed", side)
    assert told in answer.text
    assert "token_source" in answer.text
    assert "The server rejected the credential" not in answer.text
    assert len(issuer.asked) == 1
    assert not ocis.statuses()[401]
    assert SECRET not in answer.text + function.log.read_text("utf-8")


def test_token_that_is_never_accepted_is_asked_for_twice_at_most(
    function: Function, ocis: OpenCloud, s3: Storage, folder: str
) -> None:
    s3.fill(f"bucket/{folder}", files(30, 10))
    with issuing(ocis, 60) as issuer:
        issuer.answer = lambda number: (200, {"access_token": f"wrong-{number}"})
        answer = function.copy(s3.endpoint(folder), issuer.endpoint("to"))
    assert (answer.status_code, answer.json()["code"]) == (422, "authentication_failed")
    assert len(issuer.asked) <= 2


@pytest.mark.parametrize("name", ["token_source", "token_endpoint"])
def test_host_that_the_site_does_not_allow_is_not_asked(
    name: str, ocis: OpenCloud, s3: Storage, tmp_path_factory: pytest.TempPathFactory
) -> None:
    more = {"token_source_secret": SECRET} if name == "token_source" else CLIENT
    with (
        issuing(ocis, 60) as issuer,
        service_process.function(
            tmp_path_factory.mktemp("denied"), WEBDAV_GATEWAY="1", site=None
        ) as strict,
    ):
        end = issuer.endpoint("to", **{name: issuer.url}, **more)
        answer = strict.copy(s3.endpoint("any"), end)
    assert answer.status_code == 403, answer.text
    assert f"/destination/parameters/{name}" in {it["pointer"] for it in answer.json()["errors"]}
    assert not issuer.asked


def test_gateway_that_is_switched_off_renews_nothing(
    direct: Function, ocis: OpenCloud, s3: Storage, folder: str
) -> None:
    s3.fill(f"bucket/{folder}", files(1, 10))
    with issuing(ocis, 60) as issuer:
        answer = direct.copy(s3.endpoint(folder), issuer.endpoint("to"))
    assert answer.status_code == 400, answer.text
    assert [it["pointer"] for it in answer.json()["errors"]] == [
        "/destination/parameters/token_source"
    ]
    assert not issuer.asked


@pytest.mark.parametrize(
    "wrong",
    [
        {"token_source": "https://a.example.org/t"},
        {"token_endpoint": "https://a.example.org/t", "client_id": "x"},
        {"token_source": "https://a.example.org/t", "token_source_secret": "s", "pass": "p"},
        {"client_id": "x", "client_secret": "y"},
        {"token_source": "no address", "token_source_secret": "s"},
    ],
)
def test_half_of_it_is_refused(
    wrong: dict[str, str], function: Function, ocis: OpenCloud, s3: Storage
) -> None:
    end = ocis.storage().endpoint("to")
    del end["parameters"]["bearer_token"]
    end["parameters"] |= wrong
    answer = function.copy(s3.endpoint("any"), end)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
