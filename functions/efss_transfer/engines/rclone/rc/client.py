"""The HTTP client of rclone's rc API, over the daemon's unix socket.

Calls and members are those of the manual's "Remote controlling rclone".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

from efss_transfer.model.errors import EngineError

if TYPE_CHECKING:
    from efss_transfer.engines.rclone.rc.unix_http import FileRange

# What a storage has no part in is answered in milliseconds; a daemon that is silent for
# longer is broken. What waits for a storage is `Job`, and may take as long as it takes.
_CALL_SECONDS: Final = 10.0
# All work of a daemon is accounted, and can be stopped, under one name.
_GROUP: Final = "transfer"
_LOOK: Final = "look"


class RcError(Exception):
    """rclone refused a call. `text` is rclone's own and may hold secrets: it is for
    classification, and is cleaned before anybody reads it. Not retryable as such.
    """

    def __init__(self, call: str, text: str, job: int = 0) -> None:
        super().__init__(f"rclone refused {call}")
        self.text = text
        self.job_id = job


class RcClient:
    """A client for one daemon; a context manager that closes its connections.

    Every call raises EngineError if the daemon is gone, silent or not to be understood,
    and RcError if it refuses. `boot_seconds` is how long the first answer may take.
    """

    def __init__(self, socket_path: Path, boot_seconds: float) -> None:
        # Here and not above: it is made when rclone boots, which takes as long as this does
        # to import, and in another process.
        from efss_transfer.engines.rclone.rc import unix_http

        self._http: Final = unix_http
        self._client: Final = unix_http.UnixHttpClient(socket_path)
        self._patience = boot_seconds
        self._answered_within = _CALL_SECONDS
        self._broken: EngineError | None = None
        self.first_response_at: float | None = None
        """When it first answered, by `time.monotonic()`: until then it was booting."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def limit_timeout(self, seconds: float) -> None:
        """From here on wait no longer than that for an answer: it is time to end."""
        self._patience = self._answered_within = min(seconds, _CALL_SECONDS)

    def is_alive(self, seconds: float) -> bool:
        """Whether it answers within that time. If not, it never does any more."""
        self._patience = seconds
        try:
            self._call("rc/noop")
        except EngineError:
            return False
        return True

    def version(self) -> str:
        """rclone's version, such as `1.75.2`."""
        return str(self._call("core/version").get("version", "")).removeprefix("v")

    def create_remote(self, name: str, backend: str, parameters: Mapping[str, str]) -> None:
        """POST config/create: a remote in the daemon's memory.

        `obscure`, because a password that looks like base64 would be taken for an
        obscured one; `nonInteractive`, because OAuth backends would open a browser. With
        it they still say what they would ask next (whether to refresh the token, which
        drive is meant); that is not answered, and what they were given stands.
        """
        reply = self._call(
            "config/create",
            name=name,
            type=backend,
            parameters=dict(parameters),
            opt={"obscure": True, "nonInteractive": True},
        )
        if reply.get("Error"):
            raise RcError("config/create", "the backend did not take its parameters")

    def delete_remote(self, name: str) -> None:
        """POST config/delete: forget the remote and its credentials."""
        self._call("config/delete", name=name)

    def enable_garbage_collection(self) -> None:
        """Give Go its collector back, which the daemon was booted without."""
        self._call("debug/set-gc-percent", **{"gc-percent": 100})

    def set_log_level(self, level: str) -> None:
        """How much rclone logs from here on."""
        self._call("options/set", main={"LogLevel": level})

    def start_job(
        self, call: str, parameters: Mapping[str, Any], signal: threading.Event | None = None
    ) -> Job:
        """Begin a call that waits for a storage; it is done when rclone answers, and then
        sets `signal` as well, which several may share.
        """
        return Job(self, call, {**parameters, "_group": _GROUP}, signal)

    def start_probe(self, call: str, parameters: Mapping[str, Any]) -> Job:
        """The same for a look that is no part of the transfer's work."""
        return Job(self, call, {**parameters, "_group": _LOOK}, None)

    def stop_probes(self) -> None:
        """Stop all looks."""
        self._call("job/stopgroup", group=_LOOK)

    def read_range(
        self, fs: str, path: str, first: int, count: int, *, timeout: float, max_seconds: float
    ) -> FileRange:
        """So many bytes of a file in a storage, by a request for that range alone; or all
        from its beginning, of which no more is read, if `first` is 0.

        About `max_seconds` seconds after the first of them no more are waited for. Empty if the
        storage does not give them, or is silent for longer than `timeout`, in seconds.
        """
        wanted = {"Range": f"bytes={first}-{first + count - 1}"} if first else {}
        place = f"[{quote(fs, safe='')}]/{quote(path)}"
        return self._client.get(place, wanted, count, timeout, max_seconds)

    def limit_bandwidth(self, bytes_per_second: int) -> None:
        """How much all work together may move, in each direction."""
        self._call("core/bwlimit", rate=f"{bytes_per_second}B")

    def clear_fs_cache(self) -> None:
        """Look at every storage anew: rclone keeps what it found out of one, wrong or not."""
        self._call("fscache/clear")

    def check_filter(self, filters: Mapping[str, Any]) -> None:
        """Raises RcError if rclone does not understand these filters."""
        self._call("rc/noop", _filter=dict(filters))

    def write_log_marker(self) -> None:
        """POST rc/noop, for its line in the log, which comes after those of what was done
        before.
        """
        self._call("rc/noop")

    def job_status(self, job: int) -> dict[str, Any]:
        """What rclone has on record of a job: success, error, times."""
        return self._call("job/status", jobid=job)

    def stats(self) -> dict[str, Any]:
        """The accounting of the work so far: bytes, speed, counts, errors."""
        return self._call("core/stats", group=_GROUP)

    def stop_jobs(self) -> None:
        """Ask the work to stop; rclone removes what is half written, and then answers."""
        self._call("job/stopgroup", group=_GROUP)

    def _call(self, call: str, **parameters: Any) -> dict[str, Any]:
        if self._broken is not None:
            raise self._broken  # at once: the clean-up must not wait for it again
        body, _ = self._post(call, parameters, self._patience)
        if self.first_response_at is None:
            self.first_response_at = time.monotonic()
        self._patience = self._answered_within
        return body

    def _post(
        self, call: str, parameters: Mapping[str, Any], patience: float | None
    ) -> tuple[dict[str, Any], int]:
        """The answer, and the number of the job that gave it."""
        try:
            reply = self._client.post(call, parameters, patience)
            job = int(reply.headers.get("x-rclone-jobid", 0))
        except self._http.ServerSilent:
            self._broken = EngineError(f"rclone did not answer for {patience:g} s.")
            raise self._broken from None
        except (self._http.UnreadableAnswer, ValueError):
            self._broken = EngineError("rclone's answer is not to be understood.")
            raise self._broken from None
        except self._http.ServerGone:
            self._broken = EngineError("rclone ended before its work was done.")
            raise self._broken from None
        if reply.status != 200:
            # An error reply echoes all parameters under `input`: only `error` is kept.
            raise RcError(call, str(reply.body.get("error", "")), job)
        return reply.body, job


class Job:
    """A call that takes as long as a storage takes; made in a thread of its own.

    The thread ends with the call, and at the latest with the daemon, whose death breaks
    the connection.
    """

    def __init__(
        self, rc: RcClient, call: str, parameters: Mapping[str, Any], signal: threading.Event | None
    ) -> None:
        self._rc = rc
        self._signal = signal
        self._done = threading.Event()
        self._failure: EngineError | None = None
        self.error = ""
        """rclone's text, if it refused; not cleaned."""
        self.output: dict[str, Any] = {}
        self.id = 0
        """The number of its job, once it is done."""
        threading.Thread(
            target=self._make, args=(call, parameters), name=f"rclone-{call}", daemon=True
        ).start()

    def wait(self, seconds: float) -> bool:
        """Wait at most that long; tells whether it is done. Raises EngineError if the
        daemon ended instead of answering.
        """
        done = self._done.wait(seconds)
        if self._failure is not None:
            raise self._failure
        return done

    def _make(self, call: str, parameters: Mapping[str, Any]) -> None:
        try:
            self.output, self.id = self._rc._post(call, parameters, None)
        except RcError as error:
            self.error, self.id = error.text or "unknown error", error.job_id
        except EngineError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - a lost answer must not look like an empty one
            self._failure = EngineError(f"rclone's answer was lost ({type(error).__name__}).")
        finally:
            self._done.set()
            if self._signal is not None:
                self._signal.set()
