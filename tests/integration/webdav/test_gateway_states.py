"""Outages and kills in each state of a request: a true outcome for each file, nothing left.

A line stands between the service and a server. In one state of one request the server is gone, or
silent, or gone for two seconds, or the caller hangs up, or the deadline passes, or the service is
killed. The same request again must then end with every file as it is at the source.
"""

from __future__ import annotations

import os
import re
import signal
import ssl
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from support import cut_line, faulty_webdav, nextcloud, service_process
from support.cut_line import Line, Moment
from support.nextcloud import Nextcloud
from support.receivers import certificates
from support.service_process import Function
from support.storages import Storage, digest

KIB = 1 << 10
FILES = {
    "small.bin": os.urandom(5 * KIB),
    "new.bin": os.urandom(900 * KIB),
    "old.bin": os.urandom(900 * KIB),
    "sub/one.bin": os.urandom(3 * KIB),
}
SMALL_ONES = [path for path, content in FILES.items() if len(content) <= 128 * KIB]
OLD = os.urandom(700 * KIB)
NEW = {path: digest(content) for path, content in FILES.items()}
PART = re.compile(r"(.*/)?\.efss-transfer-[0-9a-f]{16}\.partial")
DAYS = 2 * 86_400


@dataclass(frozen=True)
class State:
    """A state of a request. `first`: where the connections are reset once before it."""

    name: str
    method: str
    path: str
    moment: Moment
    after: int = 0
    first: tuple[str, str] | None = None


HEAD, BODY, SENT, ANSWER = Moment.HEAD, Moment.BODY, Moment.SENT, Moment.ANSWER
CONNECTING = State("connecting", "*", "*", Moment.CONNECT)
HANDSHAKE = State("TLS handshake", "*", "*", Moment.HANDSHAKE)
UP = [
    CONNECTING,
    State("first request", "*", "*", HEAD),
    State("listing", "PROPFIND", "*/to/", ANSWER, 200),
    State("MKCOL head", "MKCOL", "*/sub/", HEAD),
    State("MKCOL made", "MKCOL", "*/sub/", SENT),
    State("small PUT head", "PUT", "*/sub/one.bin", HEAD),
    State("small PUT stored", "PUT", "*/sub/one.bin", SENT),
]
UP_PLAIN = [
    *UP,
    State("PUT aside", "PUT", "*.partial", BODY, 300 * KIB),
    State("PUT aside stored", "PUT", "*.partial", SENT),
    State("MOVE head", "MOVE", "*.partial", HEAD),
    State("MOVE done", "MOVE", "*.partial", SENT),
    State("clean-up head", "DELETE", "*.partial", HEAD, first=("PUT", "*.partial")),
    State("clean-up done", "DELETE", "*.partial", SENT, first=("PUT", "*.partial")),
]
UP_NEXTCLOUD = [
    *UP,
    State("PUT of a new file", "PUT", "*/new.bin", BODY, 300 * KIB),
    State("PUT of a new file stored", "PUT", "*/new.bin", SENT),
    State("session head", "MKCOL", "*/uploads/*", HEAD),
    State("session made", "MKCOL", "*/uploads/*", SENT),
    State("chunk", "PUT", "*/00001", BODY, 300 * KIB),
    State("chunk stored", "PUT", "*/00001", SENT),
    State("assembly head", "MOVE", "*/.file", HEAD),
    State("assembly done", "MOVE", "*/.file", SENT),
    State("clean-up head", "DELETE", "*/uploads/*", HEAD, first=("PUT", "*/00001")),
    State("clean-up done", "DELETE", "*/uploads/*", SENT, first=("PUT", "*/00001")),
]
DOWN = [
    CONNECTING,
    State("first request", "*", "*", HEAD),
    State("listing", "PROPFIND", "*/from/", ANSWER, 200),
    State("GET head", "GET", "*/new.bin", HEAD),
    State("GET", "GET", "*/new.bin", ANSWER, 300 * KIB),
]


@dataclass
class Case:
    """One transfer through a line of its own. `old` is what the destination had."""

    state: State
    line: Line
    source: dict[str, Any]
    destination: dict[str, Any]
    arrived: Callable[[], dict[str, str]]
    old: dict[str, str] = field(default_factory=dict)

    def plan(self, event: Callable[[], None]) -> None:
        state = self.state
        if state.first is not None:
            self.line.plan(*state.first, BODY, self.line.reset, after=300 * KIB)
        self.line.plan(state.method, state.path, state.moment, event, after=state.after)

    def request(self, **options: Any) -> dict[str, Any]:
        return {
            "source": self.source,
            "destination": self.destination,
            "options": {"report": "all", "transfers": 2, **options},
        }

    def untrue(self, result: dict[str, Any], may_be_cut: frozenset[str]) -> list[str]:
        """What is not as the result says, or cut off and not among the files that may be that."""
        there = self.arrived()
        wrong = [
            f"{file['path']} was told transferred"
            for file in result.get("files", [])
            if file["state"] == "transferred" and there.get(file["path"]) != NEW[file["path"]]
        ]
        for path, found in there.items():
            if PART.fullmatch(path) or path in may_be_cut:
                continue
            if found not in (NEW.get(path), self.old.get(path)):
                wrong.append(f"{path} has a content of neither side")
        wrong += [f"{path} was lost" for path in self.old if path not in there]
        return wrong


@dataclass
class Server:
    """A server of the matrix; `age` makes what is left of ours two days older. An outage may leave
    new files of `may_be_cut` cut off: the gateway can then not remove them.
    """

    storage: Storage
    states: list[State]
    age: Callable[[], None] | None
    may_be_cut: frozenset[str] = frozenset()
    states_down: list[State] = field(default_factory=lambda: DOWN)


def aged(folder: Path) -> None:
    """Make partial uploads two days older: in their names, and on disk."""
    for path in folder.rglob(".efss-transfer-*.partial"):
        begun = int(path.name.removeprefix(".efss-transfer-")[:8], 16) - DAYS
        older = path.with_name(f".efss-transfer-{begun:08x}{path.name[-16:]}")
        path.rename(older)
        os.utime(older, (begun, begun))


@pytest.fixture(scope="module")
def cloud() -> Iterator[Nextcloud]:
    with nextcloud.serving() as running:
        yield running


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """An authority that the services trust, and a server's context of it."""
    return certificates(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@pytest.fixture(scope="module")
def over_tls(authority: tuple[Path, ssl.SSLContext]) -> Iterator[Storage]:
    """A WebDAV server that speaks TLS."""
    with faulty_webdav.serving(tls=authority[1]) as dav:
        yield dav.storage


@pytest.fixture(scope="module")
def servers(cloud: Nextcloud, over_tls: Storage, storages: dict[str, Storage]) -> dict[str, Server]:
    plain = storages["wsgidav"]
    return {
        # It writes in place, and small new files go to their own names: see the design's limits.
        "plain": Server(
            plain, UP_PLAIN, lambda: aged(plain.details["folder"]), frozenset(SMALL_ONES)
        ),
        "nextcloud": Server(cloud.storage(), UP_NEXTCLOUD, None),
        "tls": Server(over_tls, [HANDSHAKE], None, states_down=[HANDSHAKE]),
    }


@contextmanager
def cases(server: Server, way: str, s3: Storage) -> Iterator[list[Case]]:
    """A case for each state, with files of its own at both ends."""
    made: list[Case] = []
    lines = []
    try:
        for state in server.states if way == "up" else server.states_down:
            context = cut_line.to(str(server.storage.parameters["url"]))
            line = context.__enter__()
            lines.append(context)
            name = f"states-{uuid.uuid4().hex[:12]}"
            far = server.storage
            if way == "up":
                s3.fill(f"bucket/{name}", FILES)
                far.fill(f"{name}/to", {"old.bin": OLD})
                made.append(
                    Case(
                        state,
                        line,
                        s3.endpoint(name),
                        far.endpoint(f"{name}/to", url=line.url),
                        partial(far.hashes, f"{name}/to"),
                        {"old.bin": digest(OLD)},
                    )
                )
            else:
                far.fill(f"{name}/from", FILES)
                made.append(
                    Case(
                        state,
                        line,
                        far.endpoint(f"{name}/from", url=line.url),
                        s3.endpoint(name),
                        partial(s3.hashes, f"bucket/{name}"),
                    )
                )
        yield made
    finally:
        for context in lines:
            context.__exit__(None, None, None)


@contextmanager
def trusting(authority: Path, runtime: Path, stall_seconds: int) -> Iterator[Function]:
    """A service that trusts the authority, for many transfers at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority))
        with service_process.function(
            runtime,
            WEBDAV_GATEWAY="1",
            CONCURRENT_TRANSFERS="32",
            STALL_SECONDS=str(stall_seconds),
        ) as running:
            yield running


@pytest.fixture(scope="module")
def impatient(
    authority: tuple[Path, ssl.SSLContext], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Function]:
    """A service that gives up a server after 4 s of silence."""
    runtime = tmp_path_factory.mktemp("states")
    with trusting(authority[0], runtime, stall_seconds=4) as running:
        yield running


@pytest.fixture(scope="module")
def patient(
    authority: tuple[Path, ssl.SSLContext], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Function]:
    """A service that waits for a silent server."""
    runtime = tmp_path_factory.mktemp("states-patient")
    with trusting(authority[0], runtime, stall_seconds=60) as running:
        yield running


def told(function: Function, case: Case, **options: Any) -> dict[str, Any]:
    """The result of a transfer, whatever its status."""
    answer = function.post(case.request(**options), timeout=200)
    body: dict[str, Any] = answer.json()
    return body if answer.status_code == 200 else body.get("result") or body


def gone(function: Function, case: Case) -> dict[str, Any]:
    case.plan(case.line.cut)
    return told(function, case, attempts=2)


def silent(function: Function, case: Case) -> dict[str, Any]:
    case.plan(case.line.silence)
    return told(function, case, attempts=1)


def back_after_two_seconds(function: Function, case: Case) -> dict[str, Any]:
    case.plan(lambda: case.line.cut_for(2))
    return told(function, case)


def deadline(function: Function, case: Case) -> dict[str, Any]:
    case.plan(case.line.silence)
    return told(function, case, deadline_seconds=8)


def hang_up(function: Function, case: Case) -> dict[str, Any]:
    """Leave in the state, while the server goes on."""
    case.plan(case.line.silence)
    headers = {"Accept": "application/x-ndjson"}
    with function.post(case.request(), headers=headers, stream=True) as answer:
        case.line.happened.wait(60)
        answer.close()
    case.line.heal()
    return {}


EVENTS = [gone, silent, back_after_two_seconds, deadline, hang_up]
WAYS = [(kind, way) for way in ("up", "down") for kind in ("plain", "nextcloud", "tls")]
QUICK = [(hang_up, "nextcloud", "up")]


def finish(function: Function, server: Server, made: list[Case], outcomes: list[Any]) -> None:
    """Check what was told, repeat each request, and look for what is left of ours."""
    ends = zip(made, outcomes, strict=True)
    wrong = {case.state.name: case.untrue(told, server.may_be_cut) for case, told in ends}
    assert {name: found for name, found in wrong.items() if found} == {}
    assert [case.state.name for case in made if not case.line.happened.is_set()] == []
    for case in made:
        case.line.heal()
    assert repeated(function, made) == {}
    for case in made:
        case.line.wait_idle()
    if server.age is not None:
        server.age()
        assert repeated(function, made) == {}
    left = {case.state.name: case.arrived() for case in made if case.arrived() != NEW}
    assert left == {}


def repeated(function: Function, made: list[Case]) -> dict[str, str]:
    """What the same requests again end with, where that is no success."""
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda case: function.post(case.request(), timeout=200), made))
    bad = {}
    for case, answer in zip(made, answers, strict=True):
        own = {path: one for path, one in case.arrived().items() if not PART.fullmatch(path)}
        if answer.status_code != 200 or own != NEW:
            bad[case.state.name] = answer.text
    return bad


@pytest.mark.parametrize(
    ("event", "kind", "way"),
    [
        pytest.param(
            event,
            kind,
            way,
            id=f"{event.__name__}-{kind}-{way}",
            marks=() if (event, kind, way) in QUICK else pytest.mark.slow,
        )
        for event in EVENTS
        for kind, way in WAYS
    ],
)
def test_outage_in_each_state_leaves_no_file_cut_off(
    event: Callable[[Function, Case], dict[str, Any]],
    kind: str,
    way: str,
    servers: dict[str, Server],
    s3: Storage,
    request: pytest.FixtureRequest,
) -> None:
    function = request.getfixturevalue("impatient" if event in (gone, silent) else "patient")
    server = servers[kind]
    with cases(server, way, s3) as made:
        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(lambda case: event(function, case), made))
        function.wait_clean(30)
        finish(function, server, made, outcomes)
    function.wait_clean()


@pytest.mark.field_case("K4")
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "way"), WAYS)
def test_service_that_is_killed_in_each_state_leaves_no_file_cut_off(
    kind: str,
    way: str,
    servers: dict[str, Server],
    s3: Storage,
    tmp_path: Path,
    authority: tuple[Path, ssl.SSLContext],
    patient: Function,
) -> None:
    server = servers[kind]
    (tmp_path / "killed").mkdir()
    with cases(server, way, s3) as made:
        with (
            trusting(authority[0], tmp_path / "killed", stall_seconds=120) as doomed,
            ThreadPoolExecutor(len(made)) as pool,
        ):
            for case in made:
                case.plan(case.line.silence)
            running = [pool.submit(doomed.post, case.request()) for case in made]
            late = [case.state.name for case in made if not case.line.happened.wait(60)]
            family = doomed.family()
            for process in family:
                process.send_signal(signal.SIGKILL)
            doomed.process.kill()
            psutil.wait_procs(family, 20)
            assert late == []
            assert all(one.exception(20) is not None for one in running)
        for case in made:
            case.line.reset()
            case.line.heal()
        finish(patient, server, made, [{} for _ in made])
