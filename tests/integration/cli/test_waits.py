"""A wait says what it waits for: in a pipe, in a terminal, and as an event."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from support import faulty_webdav, service_process
from support.cli_user import User
from support.contract import complaints
from support.faulty_webdav import NEXTCLOUD, Faulty, sabre, status

pytestmark = pytest.mark.skipif(
    not service_process.GATEWAY, reason="rclone alone does not say what it waits for"
)


@pytest.fixture
def clouds(user: User) -> Iterator[tuple[Faulty, Faulty]]:
    """The user's clouds `one`, which has a file, and `two`."""
    with faulty_webdav.serving() as one, faulty_webdav.serving() as two:
        user.write_endpoints(
            one={"type": "webdav", "parameters": one.nextcloud.parameters},
            two={"type": "webdav", "parameters": two.nextcloud.parameters},
        )
        one.nextcloud.fill("data", {"a.h5": b"a"})
        yield one, two


def test_busy_server_is_named_with_the_time_that_it_asks_for(
    user: User, clouds: tuple[Faulty, Faulty]
) -> None:
    one, two = clouds
    busy = status(429, b"", Retry_After="3")
    one.fail("GET", f"{NEXTCLOUD}/data/a.h5", busy, times=1)
    done = user.run("copy", "one:data", "two:copy")
    assert done.returncode == 0, done.stderr
    assert "Nextcloud asks to slow down: " in done.stderr
    one.fail("GET", f"{NEXTCLOUD}/data/a.h5", busy, times=1)
    with user.in_terminal("copy", "one:data", "two:again", columns=120) as screen:
        screen.wait_for("Nextcloud asks to slow down: ")
        assert screen.end() == 0
    assert two.read(f"{NEXTCLOUD}/again/a.h5") == b"a"


@pytest.mark.slow
def test_locked_file_is_named_in_an_event(user: User, clouds: tuple[Faulty, Faulty]) -> None:
    locked = sabre(423, "OCA\\DAV\\Connector\\Sabre\\Exception\\FileLocked", "is locked")
    clouds[1].fail("PUT", f"{NEXTCLOUD}/copy/a.h5", locked, times=5)
    done = user.run("copy", "--json", "one:data", "two:copy")
    assert done.returncode == 0, done.stdout
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [complaint for event in events for complaint in complaints("event", event)] == []
    waits = [event["waiting"] for event in events if "waiting" in event]
    assert {wait["for"] for wait in waits} == {"file_locked"}
    assert {wait["path"] for wait in waits} == {"copy/a.h5"}
