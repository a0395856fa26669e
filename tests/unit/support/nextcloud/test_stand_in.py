"""Faults, log, locks and costs of the stand-in."""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from support import nextcloud
from support.nextcloud import Nextcloud, errors
from support.nextcloud.probe import Client
from support.nextcloud.sites import StandIn
from support.storages import digest

FILES = "/remote.php/dav/files/alice"


@pytest.fixture
def cloud() -> Iterator[Nextcloud]:
    with nextcloud.serving() as running:
        yield running


@pytest.fixture
def ask(cloud: Nextcloud) -> Client:
    client = Client(StandIn(cloud))
    client.files = FILES
    cloud.user().tree.folders("probe")
    return client


def test_faults_are_met_as_often_as_planned(cloud: Nextcloud, ask: Client) -> None:
    cloud.fail("PUT", "*/a", nextcloud.error(errors.locked("/a"), Retry_After="3"), times=1, skip=1)
    answers = [ask("PUT", "a", "x") for _ in range(3)]
    assert [answer.status for answer in answers] == [201, 423, 204]
    assert answers[1].headers["Retry-After"] == "3"
    assert [request.failed for request in cloud.seen("PUT")] == [False, True, False]


def test_fault_is_chosen_by_what_the_request_says(cloud: Nextcloud, ask: Client) -> None:
    cloud.fail("*", "*", nextcloud.status(502), when=lambda one: "If-Match" in one.headers)
    assert ask("PUT", "a", "x").status == 201
    assert ask("PUT", "a", "y", If_Match="*").status == 502
    assert cloud.read("/probe/a") == b"x"


def test_request_is_carried_out_behind_a_proxy_that_gave_up(cloud: Nextcloud, ask: Client) -> None:
    cloud.fail("PUT", "*/a", nextcloud.status(504, carried_out=True))
    assert ask("PUT", "a", "x").status == 504
    assert cloud.read("/probe/a") == b"x"


@pytest.mark.parametrize(
    ("kind", "after", "kept"),
    [("reset", 40_000, None), ("truncate", 40_000, None), ("reset", 100_000, 100_000)],
)
def test_upload_that_a_fault_breaks_off_leaves_no_new_file(
    cloud: Nextcloud, ask: Client, kind: str, after: int, kept: int | None
) -> None:
    cloud.fail("PUT", "*/a", getattr(nextcloud, kind)(after))
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        ask("PUT", "a", bytes(100_000))
    (request,) = cloud.seen("PUT")
    assert request.received == after
    assert request.status == 0
    found = cloud.user().tree.find("/probe/a")
    assert (found.size if found else None) == kept


def test_upload_that_breaks_off_over_an_old_file_cuts_it(cloud: Nextcloud, ask: Client) -> None:
    cloud.write("/probe/a", b"old")
    cloud.fail("PUT", "*/a", nextcloud.truncate(40_000))
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        ask("PUT", "a", bytes(100_000))
    assert cloud.read("/probe/a") == bytes(40_000)


def test_upload_that_breaks_off_in_front_of_a_buffer_changes_nothing() -> None:
    with nextcloud.serving(buffered=True) as cloud:
        cloud.write("/probe/a", b"old")
        cloud.fail("PUT", "*/a", nextcloud.truncate(40_000))
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            Client(StandIn(cloud))("PUT", "a", bytes(100_000))
        assert cloud.read("/probe/a") == b"old"


def test_download_ends_early(cloud: Nextcloud, ask: Client) -> None:
    cloud.write("/probe/a", b"0123456789")
    cloud.fail("GET", "*/a", nextcloud.truncate(4))
    with pytest.raises(http.client.IncompleteRead) as raised:
        ask("GET", "a")
    assert raised.value.partial == b"0123"
    assert cloud.seen("GET")[0].sent == 4


def test_request_stalls_until_the_server_ends() -> None:
    with nextcloud.serving() as cloud:
        cloud.fail("GET", "*", nextcloud.stall())
        broken: list[Exception] = []

        def wait() -> None:
            try:
                Client(StandIn(cloud))("GET", "a")
            except (ConnectionError, http.client.HTTPException) as error:
                broken.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        until = time.monotonic() + 10
        while not cloud.seen("GET"):
            assert time.monotonic() < until
            time.sleep(0.002)
        assert not broken
    waiting.join(10)
    assert len(broken) == 1


def test_delayed_request_is_served(cloud: Nextcloud, ask: Client) -> None:
    cloud.fail("MKCOL", "*", nextcloud.delay(0.2))
    began = time.monotonic()
    assert ask("MKCOL", "d").status == 201
    assert time.monotonic() - began >= 0.2


def test_hook_sees_each_request_and_may_fail_it(cloud: Nextcloud, ask: Client) -> None:
    def fail_third(_: nextcloud.Request) -> nextcloud.Fault | None:
        return nextcloud.status(500) if len(cloud.requests) == 3 else None

    cloud.on_request = fail_third
    assert [ask("MKCOL", f"d{number}").status for number in range(4)] == [201, 201, 500, 201]


def test_log_says_who_asked_for_what(cloud: Nextcloud, ask: Client) -> None:
    ask("PUT", "a b", "hello")
    ask("GET", "a b")
    ask("MKCOL", "nope/x")
    put, got, made = cloud.requests
    assert (put.method, put.path, put.status) == ("PUT", f"{FILES}/probe/a b", 201)
    assert (put.received, put.user, got.sent) == (5, "alice", 5)
    assert cloud.statuses() == Counter({201: 1, 200: 1, 409: 1})
    assert made.headers["Authorization"].startswith("Basic ")
    cloud.heal()
    assert cloud.requests == []


def test_locked_file_is_refused_until_the_lock_ends(cloud: Nextcloud, ask: Client) -> None:
    cloud.write("/probe/a", b"old")
    with cloud.locked("/probe/a"):
        assert ask("PUT", "a", "new").status == 423
        assert ask("GET", "a").status == 423
        assert ask("PROPFIND", "a", Depth=0).status == 207
    assert ask("PUT", "a", "new").status == 204
    assert cloud.read("/probe/a") == b"new"


def test_requests_for_one_folder_meet_as_on_the_real_server() -> None:
    with nextcloud.serving(cost=nextcloud.OBSERVED) as cloud:
        site = StandIn(cloud)
        cloud.user().tree.folders("probe")
        statuses: list[tuple[str, int]] = []

        def make(path: str) -> None:
            statuses.append((path, Client(site)("MKCOL", path).status))

        threads = [
            threading.Thread(target=make, args=("d" if number % 2 else f"d/{number}",))
            for number in range(16)
        ]
        make("d/early")
        assert statuses == [("d/early", 409)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        met = Counter(status for path, status in statuses if path == "d")
        assert met[201] == 1
        assert met[405] + met[423] == 7
        # What is below comes before its parent, while that is made, or after it.
        assert {status for path, status in statuses if path != "d"} <= {201, 409, 423}


def test_two_requests_at_once_take_their_time() -> None:
    cost = nextcloud.Cost(start=0.1, processors=2)
    with nextcloud.serving(cost=cost) as cloud:
        site = StandIn(cloud)
        began = time.monotonic()
        threads = [
            threading.Thread(target=Client(site), args=("GET", "/status.php")) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - began >= 0.2


def test_account_password_costs_and_app_password_does_not(
    cloud: Nextcloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.cost = nextcloud.Cost(password=0.5)
    spent: list[float] = []
    monkeypatch.setattr(cloud, "spend", spent.append)
    site = StandIn(cloud)
    took = []
    for password in (site.app_password, site.account_password):
        assert Client(site, password=password)("PROPFIND", f"{FILES}/").status == 207
        took.append(sum(spent))
    assert took == [0, 0.5]


def test_files_are_given_and_looked_at_without_a_request(cloud: Nextcloud) -> None:
    hashes = cloud.storage().fill("data", {"a": b"1", "sub/ü": b"2"})
    assert cloud.hashes("/data") == hashes == {"a": digest(b"1"), "sub/ü": digest(b"2")}
    assert cloud.hashes("/data/a") == {"a": digest(b"1")}
    assert cloud.hashes("/nothing") == {}
    assert cloud.requests == []


def test_sizes_of_folders_follow_what_is_in_them(cloud: Nextcloud, ask: Client) -> None:
    cloud.write("/probe/a/b", bytes(10))
    cloud.write("/probe/c", bytes(5))
    ask("MOVE", "a/b", Destination=ask.to("b"))
    ask("PUT", "b", bytes(3))
    ask("COPY", "c", Destination=ask.to("a/c"))
    ask("DELETE", "c")
    root = cloud.user().tree.root
    assert root.size == 3 + 5
    cloud.user().quota = 20
    assert cloud.user().free() == 12


def test_large_contents_go_through_whole_and_in_parts(cloud: Nextcloud, ask: Client) -> None:
    content = os.urandom((5 << 20) + 3)
    assert ask("PUT", "a", content).status == 201
    assert cloud.hashes("/probe/a") == {"a": digest(content)}
    assert ask("GET", "a").body == content
    assert ask("GET", "a", Range="bytes=1048575-3145730").body == content[1048575:3145731]
    with cloud.locked("/probe/b"):
        # Nothing holds it any more.
        assert ask("PUT", "a", b"").status == 204
