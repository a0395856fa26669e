"""A client for rclone's rc API over the daemon's unix socket.

Calls and members are those of rclone's manual, "Remote controlling rclone".
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from efss_transfer.model.errors import EngineError

if TYPE_CHECKING:
    from efss_transfer.engines.rclone.rc.unix_http import FileRange

# A call that involves no storage is answered in milliseconds: a daemon that is silent for
# longer than this is broken. Calls that wait for a storage are jobs, which have no time limit.
_CALL_SECONDS: Final = 10.0
# rclone counts the transfer's jobs, and stops them, as one group.
_TRANSFER_GROUP: Final = "transfer"
_PROBE_GROUP: Final = "probe"
_Members = Mapping[str, Any]
_Signal = threading.Event | None
_Take = Callable[[bytes], None] | None


class RcloneEnded(EngineError):
    """The daemon has ended."""

    def __init__(self) -> None:
        super().__init__("rclone ended before the transfer was complete.")


class _NoResponse(EngineError):
    """The daemon did not respond in time."""


class RcError(Exception):
    """rclone refused a call.

    `text` is rclone's own message. It may hold secrets, so it is only for classification, and
    is redacted before anybody sees it. `job_id` is the number of the refused job, 0 for none.
    """

    def __init__(self, call: str, text: str, job_id: int = 0) -> None:
        super().__init__(f"rclone refused {call}")
        self.text = text
        self.job_id = job_id


class RcClient:
    """A client for one daemon, and a context manager that closes its connections.

    Every call raises EngineError if the daemon has ended, does not respond or sends an invalid
    response, and RcError if it refuses the call. `boot_seconds` is the time limit of the first
    response.
    """

    def __init__(self, socket_path: Path, boot_seconds: float) -> None:
        # Imported here, because rclone boots meanwhile, in its own process.
        from efss_transfer.engines.rclone.rc import unix_http

        self._unix_http: Final = unix_http
        self._http: Final = unix_http.UnixHttpClient(socket_path)
        self._next_timeout = boot_seconds
        self._timeout = _CALL_SECONDS
        self._broken: EngineError | None = None
        self.log_lines: Callable[[], int] = lambda: 0
        """Counts the lines of rclone's log that were read. rclone waits for their reader, which
        takes seconds where names are hundreds of kilobytes long: while it gets on, no call is
        given up before `log_lines_until`."""
        self.log_lines_until = 0.0
        self._markers: Final = itertools.count(1)
        self.first_response_at: float | None = None
        """The time of the first response, by `time.monotonic()`: rclone was booting until then."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def limit_timeout(self, seconds: float) -> None:
        """Wait no longer than this for any further response: the transfer is ending."""
        self._next_timeout = self._timeout = min(seconds, _CALL_SECONDS)

    def is_alive(self, seconds: float) -> bool:
        """Whether the daemon responds within this time. After False every call fails."""
        self._next_timeout = seconds
        try:
            self._call("rc/noop")
        except EngineError:
            return False
        return True

    def version(self) -> str:
        """POST core/version: rclone's version, such as `1.75.2`."""
        return str(self._call("core/version").get("version", "")).removeprefix("v")

    def create_remote(self, name: str, backend: str, parameters: Mapping[str, str]) -> None:
        """POST config/create: create a remote in the daemon's memory.

        `obscure`, because rclone would take a password that looks like base64 for an obscured
        one; `nonInteractive`, because OAuth backends would open a browser. Some backends still
        return the next question of their dialogue (whether to refresh the token, which drive to
        use). It is left unanswered, and the remote works with the parameters given here.
        """
        reply = self._call(
            "config/create",
            name=name,
            type=backend,
            parameters=dict(parameters),
            opt={"obscure": True, "nonInteractive": True},
        )
        if reply.get("Error"):
            raise RcError("config/create", "rclone did not accept the parameters of the storage")

    def delete_remote(self, name: str) -> None:
        """POST config/delete: delete the remote and its credentials."""
        self._call("config/delete", name=name)

    def enable_garbage_collection(self) -> None:
        """POST debug/set-gc-percent: turn on Go's collector, which is off while rclone boots."""
        self._call("debug/set-gc-percent", **{"gc-percent": 100})

    def set_proxy(self, url: str) -> None:
        """POST options/set: the proxy of the HTTP clients that are made from now on."""
        self._call("options/set", main={"HTTPProxy": url})

    def set_log_level(self, level: str) -> None:
        """POST options/set: change the level of rclone's log."""
        self._call("options/set", main={"LogLevel": level})

    def start_job(
        self, call: str, parameters: _Members, signal: _Signal = None, take: _Take = None
    ) -> Job:
        """Start a call that waits for a storage, as part of the transfer.

        `signal` is set when the job is done; several jobs may share one. `take` gets the output of
        a success in pieces, in another thread.
        """
        grouped = {**parameters, "_group": _TRANSFER_GROUP}
        return Job(call, partial(self._post, call, grouped, None, take), signal)

    def start_probe(self, call: str, parameters: Mapping[str, Any]) -> Job:
        """Start a call that waits for a storage, and is not counted as part of the transfer."""
        grouped = {**parameters, "_group": _PROBE_GROUP}
        return Job(call, partial(self._post, call, grouped, None))

    def stop_probes(self) -> None:
        """POST job/stopgroup: stop all probes."""
        self._call("job/stopgroup", group=_PROBE_GROUP)

    def read_range(
        self, fs: str, path: str, first: int, count: int, *, timeout: float, max_seconds: float
    ) -> FileRange:
        """GET `count` bytes of a file in a storage, from the byte `first` on.

        The request has a Range header unless `first` is 0; then the whole file is requested,
        and only its first bytes are read. Reading stops about `max_seconds` seconds after the
        first byte. The range is empty if the storage does not return it, or sends nothing for
        `timeout` seconds.
        """
        headers = {"Range": f"bytes={first}-{first + count - 1}"} if first else {}
        url_path = f"[{quote(fs, safe='')}]/{quote(path)}"
        return self._http.get(url_path, headers, count, timeout, max_seconds)

    def limit_bandwidth(self, bytes_per_second: int) -> None:
        """POST core/bwlimit: limit the rate of all jobs together, in each direction."""
        self._call("core/bwlimit", rate=f"{bytes_per_second}B")

    def clear_fs_cache(self) -> None:
        """POST fscache/clear: forget what rclone has learnt about each storage, right or wrong."""
        self._call("fscache/clear")

    def check_filter(self, filters: Mapping[str, Any]) -> None:
        """POST rc/noop with filters. Raises RcError if rclone cannot parse them."""
        self._call("rc/noop", _filter=dict(filters))

    def write_log_marker(self) -> int:
        """POST rc/noop with a number, which is returned. Its line in the log follows all lines of
        the calls that were answered before.
        """
        marker = next(self._markers)
        self._call("rc/noop", marker=str(marker))
        return marker

    def job_status(self, job_id: int) -> dict[str, Any]:
        """POST job/status: a job's success, error and times."""
        return self._call("job/status", jobid=job_id)

    def stats(self) -> dict[str, Any]:
        """POST core/stats: bytes, speed, counts and errors of the transfer so far."""
        return self._call("core/stats", group=_TRANSFER_GROUP)

    def stop_jobs(self) -> None:
        """POST job/stopgroup: stop the transfer's jobs. rclone deletes partial files, and only
        then answers their calls.
        """
        self._call("job/stopgroup", group=_TRANSFER_GROUP)

    def _call(self, call: str, **parameters: Any) -> dict[str, Any]:
        if self._broken is not None:
            raise self._broken  # at once: the clean-up must not wait for the daemon again
        while True:
            lines = self.log_lines()
            try:
                body, _ = self._post(call, parameters, self._next_timeout)
                break
            except _NoResponse:
                is_reading = self.log_lines() > lines and time.monotonic() < self.log_lines_until
                if not is_reading:
                    raise
                self._broken = None  # every call may be made twice
        if self.first_response_at is None:
            self.first_response_at = time.monotonic()
        self._next_timeout = self._timeout
        return body

    def _post(
        self, call: str, parameters: _Members, timeout: float | None, take: _Take = None
    ) -> tuple[dict[str, Any], int]:
        """The response's body, and the number of its job."""
        try:
            response = self._http.post(call, parameters, timeout, take)
            job_id = int(response.headers.get("x-rclone-jobid", 0))
        except self._unix_http.ResponseTimeout:
            self._broken = _NoResponse(f"rclone did not respond within {timeout:g} s.")
            raise self._broken from None
        except (self._unix_http.InvalidResponse, ValueError):
            self._broken = EngineError("rclone sent a response that is not valid.")
            raise self._broken from None
        except self._unix_http.ConnectionLost:
            self._broken = RcloneEnded()
            raise self._broken from None
        if response.status != 200:
            # An error's body repeats all parameters under `input`: only `error` is kept.
            raise RcError(call, str(response.body.get("error", "")), job_id)
        return response.body, job_id


class Job:
    """A call that takes as long as a storage takes, made in a thread of its own.

    The thread ends with the call, and at the latest when the daemon ends, which breaks the
    connection.
    """

    def __init__(
        self, call: str, post: Callable[[], tuple[dict[str, Any], int]], signal: _Signal = None
    ) -> None:
        self._post = post
        self._signal = signal
        self._done = threading.Event()
        self._failure: EngineError | None = None
        self.error = ""
        """rclone's message if it refused the call; not redacted."""
        self.output: dict[str, Any] = {}
        self.id = 0
        """The job's number in rclone, once the job is done."""
        threading.Thread(target=self._run, name=f"rclone-{call}", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait at most this long, and return whether the job is done.

        Raises EngineError if the daemon ended instead of responding.
        """
        done = self._done.wait(seconds)
        if self._failure is not None:
            raise self._failure
        return done

    def _run(self) -> None:
        try:
            self.output, self.id = self._post()
        except RcError as error:
            self.error, self.id = error.text or "unknown error", error.job_id
        except EngineError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - a lost response must not look like an empty one
            self._failure = EngineError(f"rclone's response was lost ({type(error).__name__}).")
        finally:
            self._done.set()
            if self._signal is not None:
                self._signal.set()
