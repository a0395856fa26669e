"""Copies during which one part fails at a random moment, and what is then true."""

from __future__ import annotations

import random
import re
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import psutil
import requests

# The tests' servers are not installed: only the tests and this script need them.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import cut_line, service_process
from support import storages as servers
from support.cut_line import Line
from support.faulty_webdav import status
from support.misbehaving import s3, webdav
from support.misbehaving.s3 import MisbehavingS3
from support.misbehaving.webdav import MisbehavingDav
from support.service_process import Function
from support.storages import Storage, digest

FAULTS: Final = (
    "rclone killed",
    "function killed",
    "source gone",
    "destination gone",
    "destination full",
    "errors for 5 s",
    "source cut short",
)
DIRECTIONS: Final = ("webdav to s3", "s3 to webdav")
DEADLINE_SECONDS: Final = 30
WITHOUT_FAULT_SECONDS: Final = 300
"""A deadline that a busy machine keeps as well, for copies without a fault."""
BOUND_SECONDS: Final = 26
"""How long after the deadline an answer may come, by docs/reference/settings.md."""
# What a killed function leaves beside a file, until a later transfer removes it.
_BESIDE: Final = re.compile(r"(?:.*/)?\.efss-transfer-[0-9a-f]+\.partial")
_SMALL_FILES: Final = 150
_LARGE_FILES: Final = 4


@dataclass
class Tally:
    """What went wrong in the runs of one fault; all but `runs` should be 0."""

    runs: int = 0
    wrong_successes: int = 0
    wrong_files: int = 0
    orphans: int = 0
    partial_files: int = 0
    hangs: int = 0
    not_completed: int = 0

    def add(self, other: Tally) -> None:
        """Count the runs of another as well."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


@dataclass
class Place:
    """One end of the copies: a server, and a line to it that can be cut."""

    server: MisbehavingDav | MisbehavingS3
    line: Line

    @property
    def storage(self) -> Storage:
        """As a request names it."""
        return self.server.storage

    def endpoint(self, path: str) -> dict[str, Any]:
        """A path of it, reached by the line."""
        name = "url" if self.storage.type == "webdav" else "endpoint"
        return self.storage.endpoint(path, **{name: self.line.url})

    def hashes(self, path: str) -> dict[str, str]:
        """What is at a path."""
        return self.storage.hashes("/".join(filter(None, (self.storage.base, path))))

    def fail(self, methods: tuple[str, ...], code: int) -> None:
        """Answer requests of some methods with a status."""
        if isinstance(self.server, MisbehavingDav):
            for method in methods:
                self.server.fail(method, "*", status(code))
        else:
            self.server.refuse = dict.fromkeys(methods, code)

    def cut_short(self) -> None:
        """End each file that is read in the middle."""
        self.server.cuts_short = True

    def heal(self) -> None:
        """Work again."""
        self.line.heal()
        self.server.cuts_short = False
        if isinstance(self.server, MisbehavingDav):
            self.server.heal()
        else:
            self.server.refuse = {}


@contextmanager
def places() -> Iterator[dict[str, Place]]:
    """A WebDAV server and an S3 server."""
    with (
        webdav.serving() as dav,
        servers.s3() as moto,
        s3.before(moto) as odd,
        cut_line.to(dav.url) as to_dav,
        cut_line.to(odd.url) as to_s3,
    ):
        yield {"webdav": Place(dav, to_dav), "s3": Place(odd, to_s3)}


class Service:
    """The service, which is started again once it was killed. Call `end` in the end."""

    def __init__(self) -> None:
        self._ends = ExitStack()
        self._running: Function | None = None

    def running(self) -> Function:
        """Return one that runs."""
        if self._running is None:
            folder = tempfile.TemporaryDirectory(dir="/tmp", prefix="ef")
            runtime = Path(self._ends.enter_context(folder)) / "runtime"
            runtime.mkdir()
            self._running = self._ends.enter_context(service_process.function(runtime))
        return self._running

    def end(self) -> None:
        """Stop it; the next call of `running` starts another."""
        self._running = None
        self._ends.close()


class Runs:
    """All runs of one direction. `report` is called with what is wrong, for people."""

    def __init__(
        self, source: Place, destination: Place, service: Service, report: Callable[[str], None]
    ) -> None:
        self._source = source
        self._destination = destination
        self._service = service
        self._report = report
        self._healing: threading.Timer | None = None
        self._folder = uuid.uuid4().hex
        made = random.Random(0)  # noqa: S311  # no secret
        files = {
            f"d{number % 7}/f{number}.bin": made.randbytes(4096) for number in range(_SMALL_FILES)
        }
        files |= {f"large{n}.bin": made.randbytes(3 << 20) for n in range(_LARGE_FILES)}
        at = "/".join(filter(None, (source.storage.base, self._folder)))
        source.storage.fill(at, files)
        self._whole = {path: digest(content) for path, content in files.items()}
        self._seconds = self._seconds_without_fault()

    def _seconds_without_fault(self) -> float:
        running = self._service.running()
        began = time.monotonic()
        answer = self._post(running, uuid.uuid4().hex, WITHOUT_FAULT_SECONDS)
        if answer is None or answer.status_code != 200:
            raise RuntimeError(f"The copy without a fault failed: {_text(answer)}")
        return time.monotonic() - began

    def run(self, fault: str, seed: str) -> Tally:
        """Copy once; the fault comes at a random moment of the time that a copy takes."""
        chosen = random.Random(seed)  # noqa: S311  # no secret
        tally, to = Tally(runs=1), uuid.uuid4().hex
        moment = chosen.uniform(0.05, self._seconds)
        what = f"{fault} after {moment:.2f} s"
        running = self._service.running()
        timer = threading.Timer(moment, lambda: self._strike(fault, running, chosen))
        timer.start()
        began = time.monotonic()
        answer = self._post(running, to)
        took = time.monotonic() - began
        timer.cancel()
        timer.join()
        self._judge(answer, to, took, what, tally)
        self._look_for_orphans(running, what, tally)
        if running.process.poll() is not None or tally.orphans:
            self._service.end()
        if self._healing is not None:
            self._healing.cancel()
            self._healing.join()
        self._source.heal()
        self._destination.heal()
        again = self._service.running()
        answer = self._post(again, to, WITHOUT_FAULT_SECONDS)
        if answer is None or answer.status_code != 200:
            tally.not_completed += 1
            self._report(f"{what}: the second request: {_text(answer)}")
        else:
            self._judge(answer, to, 0, f"second request after {fault}", tally)
        self._look_for_orphans(again, what, tally)
        return tally

    def _look_for_orphans(self, running: Function, what: str, tally: Tally) -> None:
        try:
            running.wait_clean(10)
        except AssertionError as error:
            tally.orphans += 1
            self._report(f"{what}: left {error}")

    def _post(
        self, running: Function, to: str, deadline: int = DEADLINE_SECONDS
    ) -> requests.Response | None:
        request = {
            "source": self._source.endpoint(self._folder),
            "destination": self._destination.endpoint(to),
            "options": {"report": "all", "deadline_seconds": deadline, "attempts": 2},
        }
        with suppress(requests.ConnectionError):
            return running.post(request, timeout=deadline + 30)
        return None

    def _strike(self, fault: str, running: Function, chosen: random.Random) -> None:
        match fault:
            case "rclone killed":
                for daemon in running.daemons():
                    with suppress(psutil.NoSuchProcess):
                        daemon.send_signal(signal.SIGKILL)
            case "function killed":
                with suppress(ValueError, psutil.NoSuchProcess):
                    worker = running.worker()
                    running.process.kill()
                    worker.kill()
            case "source gone":
                self._source.line.cut()
            case "destination gone":
                self._destination.line.cut()
            case "destination full":
                self._destination.fail(("PUT", "POST"), 507)
            case "errors for 5 s":
                place = chosen.choice((self._source, self._destination))
                place.fail(("PUT", "POST", "GET", "HEAD", "PROPFIND", "MKCOL", "MOVE"), 500)
                self._healing = threading.Timer(5, place.heal)
                self._healing.start()
            case "source cut short":
                self._source.cut_short()

    def _judge(
        self, answer: requests.Response | None, to: str, took: float, what: str, tally: Tally
    ) -> None:
        if took > DEADLINE_SECONDS + BOUND_SECONDS:
            tally.hangs += 1
            self._report(f"{what}: answered after {took:.1f} s")
        arrived = self._destination.hashes(to)
        bad = {
            path
            for path, hash_ in arrived.items()
            if self._whole.get(path) != hash_ and not _BESIDE.fullmatch(path)
        }
        if bad:
            tally.partial_files += 1
            self._report(f"{what}: {sorted(bad)[:3]} are not the source's files")
        if answer is None:
            return  # the function was killed
        document = answer.json()
        if answer.status_code == 200 and (missing := self._whole.items() - arrived.items()):
            tally.wrong_successes += 1
            self._report(f"{what}: succeeded, without {sorted(missing)[:3]}")
        told = document if answer.status_code == 200 else document.get("result", {})
        wrong = [
            file["path"]
            for file in told.get("files", [])
            if file["state"] == "transferred"
            and arrived.get(file["path"]) != self._whole[file["path"]]
        ]
        if wrong:
            tally.wrong_files += 1
            self._report(f"{what}: {wrong[:3]} are called transferred")


def _text(answer: requests.Response | None) -> str:
    return "no answer" if answer is None else answer.text[:300]
