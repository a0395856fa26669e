"""A WebDAV server that refuses, breaks off, or falls silent, on each side and at each step.

The other side is a real S3. What the table of failures says is shown here of rclone's own
texts: the right code, the side, whether a retry can help, and within a bound.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import requests

from support import faulty_webdav, service_process
from support.faulty_webdav import Fault, Faulty
from support.refusals import ONE_ATTEMPT, SECONDS, reported_error
from support.service_process import GATEWAY, Function
from support.storages import Storage

STALL_SECONDS = 2


STALLED_SECONDS = 45.0


MOST_TRIES = 6


"""Two low-level tries of a file, and two of each request for it; and Go's client repeats a
request by itself if a connection that it had kept breaks."""


MOST_TRIES_OF_BUSY = 16


"""The gateway asks a server that is busy for 8 seconds, at first ten times a second where a file
is locked, before it lets one request fail."""


IN_SUB = "/data/sub/*"


"""Where `sub/bad.txt` is uploaded to: by the gateway to a name beside it."""


GOOD = bytes(range(256)) * 4


BAD = b"b" * 200_000


CUT_AT = 1000


DOWN = ("storage_unreachable", True, 502)


@dataclass(frozen=True)
class Case:
    """A request that fails: on which side, by which method, how, and what is to be told."""

    side: str
    method: str
    name: str
    fault: Fault
    code: str
    retryable: bool
    status: int

    @property
    def is_busy(self) -> bool:
        """Whether the gateway waits for it."""
        return self.name in ("423", "429", "503")

    @property
    def stalls(self) -> bool:
        """Whether the server falls silent."""
        return self.name.startswith("stall")


def cases() -> Iterator[Case]:
    meanings = {
        401: ("authentication_failed", False, 422),
        403: ("permission_denied", False, 422),
        404: ("source_not_found", False, 422),
        405: ("unsupported", False, 422),
        409: ("storage_error", False, 502),
        423: ("storage_busy", True, 503),
        429: ("storage_busy", True, 503),
        500: ("storage_error", False, 502),
        502: ("storage_unreachable", True, 502),
        503: ("storage_busy", True, 503),
        504: ("storage_unreachable", True, 502),
        507: ("quota_exceeded", False, 507),
    }
    strange = ("storage_error", False, 502)
    steps = [
        ("source", "PROPFIND"),
        ("source", "GET"),
        ("destination", "PROPFIND"),
        ("destination", "MKCOL"),
        ("destination", "PUT"),
    ]
    for side, method in steps:
        for status, meaning in meanings.items():
            if (side, method, status) == ("destination", "PROPFIND", 404):
                continue  # a folder that is not there yet, which is no fault
            # What is not at the destination is no missing source, and a source that is full
            # is no full destination. MKCOL says 405 of a folder that is there; if it is not,
            # the upload fails.
            odd = (side, status) in (("destination", 404), ("source", 507))
            if odd or (method, status) == ("MKCOL", 405):
                meaning = strange
            if GATEWAY and (side, status) == ("destination", 404):
                # The folder may have been deleted meanwhile: the next attempt makes it again.
                meaning = ("storage_error", True, 502)
            elif GATEWAY and (method, status) == ("MKCOL", 405):
                meaning = ("name_refused", False, 422)  # the gateway looks whether it is there
            yield Case(side, method, str(status), faulty_webdav.status(status), *meaning)
        yield Case(side, method, "reset", faulty_webdav.reset(CUT_AT), *DOWN)
        yield Case(side, method, "truncate", faulty_webdav.truncate(CUT_AT), *DOWN)
        yield Case(side, method, "stall", faulty_webdav.stall(), *DOWN)
        if method in ("GET", "PUT"):
            yield Case(side, method, "stall in the middle", faulty_webdav.stall(CUT_AT), *DOWN)


def named(case: Case) -> str:
    return f"{case.side} {case.method} {case.name}"


ALL = list(cases())


@dataclass(frozen=True)
class Copied:
    """An answer, how long it took, the hashes of what was to arrive, and of what did."""

    answer: requests.Response
    seconds: float
    hashes: dict[str, str]
    arrived: dict[str, str]


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    storages: dict[str, Storage],
) -> Iterator[dict[Case, Future[tuple[Copied, int]]]]:
    """What became of each case, and how many requests failed in it.

    One after the other they would take minutes, of which most is waiting. The functions are
    this module's own, of which one soon gives up a storage that is silent.
    """
    runtimes = [tmp_path_factory.mktemp(name) for name in ("patient", "impatient")]
    silence = str(STALL_SECONDS)
    with (
        service_process.function(runtimes[0]) as patient,
        service_process.function(runtimes[1], STALL_SECONDS=silence) as impatient,
        ThreadPoolExecutor(4) as pool,
    ):

        def run(case: Case) -> tuple[Copied, int]:
            with faulty_webdav.serving() as dav:
                dav.fail(case.method, path_of(case), case.fault)
                function = impatient if case.stalls else patient
                done = copied(function, dav, storages["s3"], case.side)
                return done, [request.failed for request in dav.seen()].count(True)

        chosen = {
            item.callspec.params.get("case")
            for item in request.session.items
            if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        }
        yield {case: pool.submit(run, case) for case in ALL if case in chosen}
        pool.shutdown(cancel_futures=True)
        patient.wait_clean()
        impatient.wait_clean()


def copied(function: Function, dav: Faulty, s3: Storage, side: str) -> Copied:
    """Copy a good and a bad file from or to the server."""
    name = uuid.uuid4().hex
    files = {"good.txt": GOOD, "sub/bad.txt": BAD}
    there = s3.endpoint(name)
    if side == "source":
        hashes = dav.fill("data", files)
        source, destination = dav.storage.endpoint("data"), there
    else:
        hashes = s3.fill(f"bucket/{name}", files)
        source, destination = there, dav.storage.endpoint("data")
    began = time.monotonic()
    answer = function.copy(source, destination, options=ONE_ATTEMPT)
    seconds = time.monotonic() - began
    arrived = s3.hashes(f"bucket/{name}") if side == "source" else dav.hashes("data")
    return Copied(answer, seconds, hashes, arrived)


def path_of(case: Case) -> str:
    if case.method == "PROPFIND":
        return "/data"
    if case.method == "PUT":
        return IN_SUB
    return "/data/sub" if case.method == "MKCOL" else "/data/sub/bad.txt"


@pytest.mark.parametrize("case", ALL, ids=named)
def test_what_a_server_does_is_told_with_its_code_its_side_and_whether_to_retry(
    outcomes: dict[Case, Future[tuple[Copied, int]]], case: Case
) -> None:
    done, failures = outcomes[case].result()
    answer = done.answer
    assert done.seconds < (STALLED_SECONDS if case.stalls else SECONDS)
    problem, code, side, retryable = reported_error(answer)
    assert (code, side, retryable) == (case.code, case.side, case.retryable)
    assert failures <= (MOST_TRIES_OF_BUSY if GATEWAY and case.is_busy else MOST_TRIES)
    if case.method == "PROPFIND":
        # Without its list nothing of a side is known, so nothing is copied.
        assert (answer.status_code, problem["code"]) == (case.status, case.code)
        assert done.arrived == {}
        assert ("Retry-After" in answer.headers) is (case.status == 503)
    else:
        assert (answer.status_code, problem["code"]) == (502, "partial")
        (failed,) = problem["result"]["files"]
        assert failed["path"] == "sub/bad.txt"
        assert failed["error"]["code"] == case.code
        # Half a file must never stand there as a whole one.
        assert done.arrived == {"good.txt": done.hashes["good.txt"]}


SABRE = r"Sabre\DAV\Exception"


CLOUD = r"OCA\DAV\Connector\Sabre\Exception"


SHORT = (
    "Expected filesize of 200000 bytes but read (from Nextcloud client) and wrote (to Nextcloud "
    "storage) 1048576 bytes. Could either be a network problem on the sending side or a problem "
    "writing to the storage on the server side."
)


WORDS = [
    (401, rf"{SABRE}\NotAuthenticated", "Cannot authenticate", "authentication_failed", False),
    (429, r"OCP\Security\TooManyRequests", "Too many requests", "storage_busy", True),
    (
        503,
        rf"{SABRE}\ServiceUnavailable",
        r"OC\User\DisabledUserException: Account disabled",
        "authentication_failed",
        False,
    ),
    (
        503,
        r"OCA\DAV\ServerMaintenanceMode",
        "System is in maintenance mode.",
        "storage_busy",
        True,
    ),
    (423, rf"{CLOUD}\FileLocked", '"files/a/bad.txt" is locked', "storage_busy", True),
    (
        507,
        rf"{SABRE}\InsufficientStorage",
        "Insufficient space in /q/f8.bin, 8388608 required, 5242880 available",
        "quota_exceeded",
        False,
    ),
    # Nextcloud says that also while another request makes the same file.
    (403, rf"{SABRE}\Forbidden", "", "permission_denied", GATEWAY),
    (405, rf"{SABRE}\MethodNotAllowed", "Only PUT is allowed on files drop", "unsupported", False),
    (400, rf"{CLOUD}\InvalidPath", "Filename is a reserved word", "name_refused", False),
    (400, rf"{CLOUD}\InvalidPath", '".part" is a forbidden file type.', "name_refused", False),
    (
        400,
        rf"{SABRE}\BadRequest",
        SHORT,
        "checksum_mismatch",
        True,
    ),
    (
        500,
        "InvalidArgumentException",
        "X-OC-MTime header must be a valid positive unix timestamp greater than one day",
        "storage_error",
        False,
    ),
    (409, rf"{SABRE}\Conflict", "Parent node is not a collection", "not_a_directory", False),
    # A status within a message is none.
    (418, "Exception", "read 503 of 507 bytes, 401 left", "storage_error", False),
]


def test_the_words_of_nextcloud_say_more_than_its_status(
    function: Function, dav: Faulty, s3: Storage
) -> None:
    """A file for each, because each is a matter of its file."""
    here = uuid.uuid4().hex
    files = {f"{number}/f.txt": BAD for number, _ in enumerate(WORDS)}
    hashes = s3.fill(f"bucket/{here}", {**files, "good.txt": GOOD})
    for number, (status, exception, message, _, _) in enumerate(WORDS):
        dav.fail("PUT", f"/data/{number}/*", faulty_webdav.sabre(status, exception, message))

    answer = function.copy(s3.endpoint(here), dav.storage.endpoint("data"), options=ONE_ATTEMPT)

    assert answer.json()["code"] == "partial"
    failed = {file["path"]: file["error"] for file in answer.json()["result"]["files"]}
    assert failed.keys() == files.keys()
    for number, (status, _, message, code, retryable) in enumerate(WORDS):
        error = failed[f"{number}/f.txt"]
        found = (error["code"], error["side"], error["retryable"])
        assert found == (code, "destination", retryable), (status, message)
    assert dav.hashes("data") == {"good.txt": hashes["good.txt"]}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("OC\\User\\DisabledUserException: Account disabled", "authentication_failed"),
        ("System is in maintenance mode.", "storage_busy"),
    ],
)
@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_503_is_not_always_worth_a_retry(
    function: Function, dav: Faulty, s3: Storage, words: str, code: str, side: str
) -> None:
    dav.fail("*", "*", faulty_webdav.sabre(503, rf"{SABRE}\ServiceUnavailable", words))
    done = copied(function, dav, s3, side)
    assert reported_error(done.answer)[1:] == (code, side, code == "storage_busy")
    assert done.arrived == {}


@pytest.mark.parametrize("fault", ["503", "reset"])
@pytest.mark.parametrize("method", ["PROPFIND", "GET", "MKCOL", "PUT"])
def test_what_passes_at_once_is_no_failure(
    function: Function, dav: Faulty, s3: Storage, method: str, fault: str
) -> None:
    what = faulty_webdav.reset(CUT_AT) if fault == "reset" else faulty_webdav.status(int(fault))
    dav.fail(method, "/data*", what, times=1)
    side = "source" if method in ("PROPFIND", "GET") else "destination"
    done = copied(function, dav, s3, side)
    assert done.answer.status_code == 200, done.answer.text
    assert done.arrived == done.hashes
    assert [request.failed for request in dav.seen()].count(True) == 1


@pytest.mark.parametrize(
    "fault",
    [faulty_webdav.reset(CUT_AT), faulty_webdav.truncate(CUT_AT)],
    ids=["reset", "truncate"],
)
@pytest.mark.parametrize("name", ["wsgidav", "rclone", "sftp", "ftp"])
def test_a_source_that_breaks_off_is_not_told_as_a_failure_of_the_destination(
    function: Function, dav: Faulty, storages: dict[str, Storage], name: str, fault: Fault
) -> None:
    here = uuid.uuid4().hex
    hashes = dav.fill("data", {"good.txt": GOOD, "bad.txt": BAD})
    dav.fail("GET", "/data/bad.txt", fault)
    answer = function.copy(
        dav.storage.endpoint("data"), storages[name].endpoint(here), options=ONE_ATTEMPT
    )
    assert reported_error(answer)[1:] == ("storage_unreachable", "source", True)
    assert storages[name].hashes(here)["good.txt"] == hashes["good.txt"]


@pytest.mark.parametrize(("method", "most"), [("GET", 4), ("PUT", 2)])
def test_a_file_that_always_fails_costs_seconds_and_no_other_file_is_sent_again(
    function: Function, dav: Faulty, s3: Storage, method: str, most: int
) -> None:
    dav.fail(method, IN_SUB, faulty_webdav.status(500))
    done = copied(function, dav, s3, "source" if method == "GET" else "destination")
    assert done.answer.json()["code"] == "partial"
    # Measured: 0.3 s and 2.4 s.
    assert done.seconds < SECONDS
    assert 1 <= len(dav.seen(method, IN_SUB)) <= most
    assert len(dav.seen(method, "*/good.txt")) == 1


def test_a_locked_file_is_sent_twice_at_most_and_no_other_again(
    function: Function, dav: Faulty, s3: Storage
) -> None:
    dav.fail("PUT", IN_SUB, faulty_webdav.sabre(423, rf"{CLOUD}\FileLocked", "locked"))
    done = copied(function, dav, s3, "destination")
    assert reported_error(done.answer)[1:] == ("storage_busy", "destination", True)
    sent = [request.received for request in dav.seen("PUT")]
    assert sum(sent) <= 2 * len(BAD) + len(GOOD)


LARGE = bytes(range(256)) * (12 << 12)  # 12 MiB, and so more than one chunk


@pytest.mark.parametrize("attempts", [1, 2])
def test_nextcloud_locked_while_it_puts_chunks_together(
    function: Function, dav: Faulty, s3: Storage, attempts: int
) -> None:
    """Each attempt sends the file once, and nothing else is sent twice. The gateway waits."""
    name = uuid.uuid4().hex
    hashes = s3.fill(f"bucket/{name}", {"large.bin": LARGE, "small.txt": GOOD})
    dav.fail("MOVE", "*", faulty_webdav.status(423), times=1)
    answer = function.copy(
        s3.endpoint(name), dav.nextcloud.endpoint(name), options={"attempts": attempts}
    )
    needed = 1 if GATEWAY else attempts
    assert sum(request.received for request in dav.seen("PUT")) == len(LARGE) * needed + len(GOOD)
    if attempts == 1 and not GATEWAY:
        assert (answer.status_code, answer.json()["code"]) == (502, "partial")
        assert answer.json()["result"]["errors"][0]["code"] == "storage_busy"
        assert answer.json()["retryable"] is True
    else:
        assert answer.status_code == 200, answer.text
        assert answer.json()["attempts"] == needed
        assert dav.nextcloud.hashes(name) == hashes


def test_a_gateway_without_patience_does_not_have_a_file_sent_again(
    function: Function, dav: Faulty, s3: Storage
) -> None:
    """Nextcloud goes on with what it was asked for when the gateway before it has given up."""
    name = uuid.uuid4().hex
    hashes = s3.fill(f"bucket/{name}", {"large.bin": LARGE})
    last = "PUT" if GATEWAY else "MOVE"
    dav.fail(last, "*", faulty_webdav.status(504, carried_out=True), times=1)
    answer = function.copy(
        s3.endpoint(name), dav.nextcloud.endpoint(name), options={"report": "all"}
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["files"] == [
        {"path": "large.bin", "state": "skipped", "reason": "same", "bytes": len(LARGE)}
    ]
    assert answer.json()["attempts"] == 2
    assert dav.nextcloud.hashes(name) == hashes
    assert sum(request.received for request in dav.seen("PUT")) == len(LARGE)


def test_a_source_that_breaks_off_is_read_on_and_not_from_its_start(
    function: Function, dav: Faulty, s3: Storage
) -> None:
    dav.fail("GET", "/data/sub/bad.txt", faulty_webdav.truncate(CUT_AT), times=1)
    done = copied(function, dav, s3, "source")
    assert done.answer.status_code == 200
    assert done.arrived == done.hashes
    assert len(dav.seen("GET", "/data/sub/bad.txt")) == 2


def test_a_source_that_breaks_off_and_ignores_ranges_arrives_as_it_is(
    function: Function, s3: Storage
) -> None:
    with faulty_webdav.serving(ranges=False) as dav:
        dav.fail("GET", "/data/sub/bad.txt", faulty_webdav.truncate(CUT_AT), times=1)
        done = copied(function, dav, s3, "source")
    assert done.answer.status_code == 200, done.answer.text
    assert done.arrived == done.hashes


def test_a_page_full_of_numbers_is_known_by_its_status(
    function: Function, dav: Faulty, s3: Storage
) -> None:
    page = b"<html><head><title>Error: 503</title></head><body>401 (402): 403</body></html>"
    dav.fail("PUT", IN_SUB, faulty_webdav.status(500, page, Content_Type="text/html"))
    done = copied(function, dav, s3, "destination")
    assert reported_error(done.answer)[1:] == ("storage_error", "destination", False)
