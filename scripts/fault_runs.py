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
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
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

    @property
    def is_clean(self) -> bool:
        """Whether nothing went wrong."""
        return not any(value for name, value in asdict(self).items() if name != "runs")


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


@contextmanager
def service() -> Iterator[Function]:
    """A service of its own, because it may be killed."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ef") as folder:
        runtime = Path(folder) / "runtime"
        runtime.mkdir()
        with service_process.function(runtime) as running:
            yield running


class Runs:
    """All runs of one direction. `report` is called with what is wrong, for people."""

    def __init__(
        self, source: Place, destination: Place, seed: int, report: Callable[[str], None]
    ) -> None:
        self._source = source
        self._destination = destination
        self._random = random.Random(seed)  # noqa: S311  # no secret
        self._report = report
        self._healing: threading.Timer | None = None
        self._folder = uuid.uuid4().hex
        files = {
            f"d{number % 7}/f{number}.bin": self._random.randbytes(4096)
            for number in range(_SMALL_FILES)
        }
        files |= {f"large{n}.bin": self._random.randbytes(3 << 20) for n in range(_LARGE_FILES)}
        at = "/".join(filter(None, (source.storage.base, self._folder)))
        source.storage.fill(at, files)
        self._whole = {path: digest(content) for path, content in files.items()}

    def seconds(self) -> float:
        """How long a copy without a fault takes."""
        with service() as running:
            began = time.monotonic()
            answer = self._post(running, uuid.uuid4().hex)
            if answer is None or answer.status_code != 200:
                raise RuntimeError("The copy without a fault failed.")
            return time.monotonic() - began

    def run(self, fault: str, seconds: float, tally: Tally) -> None:
        """Copy once; the fault comes at a random moment of the first `seconds`."""
        to = uuid.uuid4().hex
        moment = self._random.uniform(0.05, seconds)
        tally.runs += 1
        with service() as running:
            timer = threading.Timer(moment, lambda: self._strike(fault, running))
            timer.start()
            began = time.monotonic()
            answer = self._post(running, to)
            took = time.monotonic() - began
            timer.cancel()
            timer.join()
            self._judge(answer, to, took, f"{fault} after {moment:.2f} s", tally)
            try:
                running.wait_clean(10)
            except AssertionError as error:
                tally.orphans += 1
                self._report(f"{fault} after {moment:.2f} s: left {error}")
        if self._healing is not None:
            self._healing.cancel()
            self._healing.join()
        self._source.heal()
        self._destination.heal()
        with service() as running:
            answer = self._post(running, to)
            if answer is None or answer.status_code != 200:
                tally.not_completed += 1
                self._report(f"{fault} after {moment:.2f} s: the second request: {_text(answer)}")
            else:
                self._judge(answer, to, 0, f"second request after {fault}", tally)

    def _post(self, running: Function, to: str) -> requests.Response | None:
        request = {
            "source": self._source.endpoint(self._folder),
            "destination": self._destination.endpoint(to),
            "options": {"report": "all", "deadline_seconds": DEADLINE_SECONDS, "attempts": 2},
        }
        with suppress(requests.ConnectionError):
            return running.post(request, timeout=DEADLINE_SECONDS + 30)
        return None

    def _strike(self, fault: str, running: Function) -> None:
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
                place = self._random.choice((self._source, self._destination))
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
