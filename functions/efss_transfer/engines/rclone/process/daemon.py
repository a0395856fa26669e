"""The rclone process: starts it, reads its log, and stops it.

No process and no file outlives this module's context manager, whatever happens:

* the function leaves the block, normally or by an exception: the daemon is stopped and reaped,
  and its folder removed, in the reverse order of their creation;
* the daemon dies: its end of the socket closes, so a call fails at once;
* the function is killed: the keeper, a small shell that was started before the daemon, sees the
  end of its pipe, stops the daemon, and removes the folder.

Why a keeper, and not PR_SET_PDEATHSIG: that signal is tied to the thread that forked, it cannot
remove a folder, and no second signal follows if rclone ignores the first. The keeper sends
SIGTERM first, so that rclone aborts its open uploads.
"""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Final, cast

from efss_transfer.config.settings import Settings
from efss_transfer.engines.rclone.process import run_as, sandbox
from efss_transfer.model.errors import EngineError

_LOG = logging.getLogger(__name__)
# More connections than there are calls at a time: a busy machine accepts them late.
_BACKLOG: Final = 1024
# A line may hold a name of hundreds of KB several times, with each sign escaped in six bytes.
_MAX_LINE_BYTES: Final = 1 << 24
# Time for the clean-up of what is not stuck: rclone deletes its open uploads one after the other.
_STUCK_STOP_SECONDS: Final = 0.5

# The socket arrives as standard input, and becomes descriptor 3, which socket activation
# requires; LISTEN_PID must be the daemon's own pid, which `exec` keeps. The pid goes to the
# keeper before rclone exists: at no moment could a kill of the function leave an rclone that the
# keeper does not know. The limits are set before rclone exists, too.
_LAUNCH: Final = """
echo $$
exec 3<&0 </dev/null >/dev/null
{limits}
LISTEN_PID=$$ exec "$@"
"""

# The keeper reads rclone's pid, and then a line that says that the daemon was stopped. If the pipe
# ends without it, the function is dead. The keeper ignores the signals that end a process group or
# a service, because it is needed just then, and ends within its ticks of 0.1 s. Its output is the
# reading end of rclone's log: without one, rclone dies of SIGPIPE before it aborts its uploads.
_KEEP: Final = """
trap '' TERM INT HUP QUIT
folder=$1 ticks=$2
read -r pid || pid=
if read -r word; then exit 0; fi
if [ -n "$pid" ]; then
    cat <&1 >/dev/null &
    exec >/dev/null
    kill -TERM "$pid"
    while [ "$ticks" -gt 0 ] && kill -0 "$pid"; do
        sleep 0.1
        ticks=$((ticks - 1))
    done
    kill -s KILL -- "-$pid"
fi
rm -rf -- "$folder"
"""

# Flags of every daemon. The address cannot be bound: if rclone does not use the inherited socket,
# it exits instead of listening on TCP. No write timeout, because a response has no time limit.
# The retries and timeouts limit how long a dead storage can hold a transfer: with rclone's
# defaults, minutes.
#
# Low-level retries multiply: those of a file, of each request for it, and of each interrupted
# read. Measured for 1, 2, 3 and 10: a file whose GET always returns 500 costs 1, 4, 9 and 100
# requests in 0.2, 0.3, 2 and 184 s; a locked file is sent 1, 2, 3 and 10 times; an upload that
# Nextcloud has locked (423) while it assembles the chunks takes 5, 30, 106 s and more than an
# hour. But with 1 a single 503 among thousands of listings, or a single broken connection, fails
# the whole transfer. So the value is 2.
_FLAGS: Final = (
    "rcd",
    "--rc-addr=unix:///dev/null/x",
    "--rc-no-auth",
    # Serves ranges of files, for which the API has no call: see rc/stream_rate.py.
    "--rc-serve",
    "--rc-serve-no-modtime",
    "--rc-server-write-timeout=0",
    "--config=",
    "--use-json-log",
    "--log-level=INFO",
    "--retries=1",
    "--low-level-retries=2",
    "--contimeout=10s",
    # From a million entries on, rclone would sort a folder in files, which the sandbox forbids.
    "--list-cutoff=1000000000",
)


class Daemon:
    """A running `rclone rcd`, which listens only on `socket_path`."""

    def __init__(self, process: subprocess.Popen[bytes], socket_path: Path) -> None:
        self.socket_path = socket_path
        self._process = process
        self._log_ended = threading.Event()
        self._stop_seconds = float("inf")

    def expect_no_end(self) -> None:
        """Wait only a moment for its end after SIGTERM: a job of it did not stop, either."""
        self._stop_seconds = _STUCK_STOP_SECONDS

    @property
    def pid(self) -> int:
        """The id of its process, and of its process group."""
        return self._process.pid

    def stop(self, seconds: float) -> None:
        """Stop it: SIGTERM, and after `seconds` SIGKILL to its whole process group."""
        self._process.terminate()
        seconds = min(seconds, self._stop_seconds)
        until = time.monotonic() + seconds
        try:
            # Its log ends with the process, and can be waited for without polling.
            self._log_ended.wait(seconds)
            self._process.wait(max(0.05, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            _LOG.warning("rclone did not end within %.1f s of SIGTERM, and is killed", seconds)
            # Until the process is reaped, no other process group can have its id.
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()


@contextmanager
def running_daemon(
    binary: Path,
    settings: Settings,
    take_line: Callable[[bytes], None],
    *,
    connect_ports: frozenset[int] | None = None,
    proxy: str | None = None,
    udp: bool = False,
) -> Iterator[Daemon]:
    """Run a daemon in its sandbox for the length of the block, and clean up after it.

    `take_line` is called with every line of its log, from a thread of its own; it has received
    the last line when the block is left. `connect_ports` are the only TCP ports that the daemon
    may connect to, if the kernel supports that; None allows all. With ports it has no UDP
    sockets, and so cannot resolve names, unless `udp`. `proxy`, such as
    `socks5://127.0.0.1:1080`, is the proxy of its HTTP connections; it is a command line
    argument, so it must hold no secret.

    The block starts at once: the first call waits in the socket's backlog until rclone is up.
    Raises EngineError if rclone cannot be started, and ConfigurationError if it cannot run as
    the configured user.
    """
    with ExitStack() as undo:
        try:
            # The keeper knows the folder's name before the folder exists: at no moment could a
            # kill of the function leave a folder that the keeper does not know.
            folder = settings.runtime_dir / f"efss-transfer-{secrets.token_hex(8)}"
            log_reader, log_writer = (undo.enter_context(end) for end in _pipe())
            keeper = undo.enter_context(_keeper(folder, settings.rclone.stop_seconds, log_reader))
            folder.mkdir(mode=0o700)
            undo.callback(shutil.rmtree, folder, ignore_errors=True)
            listener = undo.enter_context(_listener(folder / "rc"))
            command = [str(binary), *_FLAGS, f"--timeout={settings.rclone.stall_seconds:.10g}s"]
            if proxy is not None:
                command.append(f"--http-proxy={proxy}")
            launch = _launcher(command, settings, folder, listener, keeper, log_writer, proxy)
            process = sandbox.run_confined(launch, binary, folder, connect_ports, udp=udp)
            _LOG.debug("rclone was started as process %d", process.pid)
            # From here on only the daemon has these open: if it dies, every connection fails at
            # once, also those in the backlog, and its log ends.
            listener.close()
            log_writer.close()
        except OSError as error:
            # `strerror` and `from None`: the error's whole text names paths of this machine.
            reason = error.strerror or type(error).__name__
            raise EngineError(f"rclone could not be started: {reason}.") from None
        daemon = Daemon(process, folder / "rc")
        reader = threading.Thread(
            target=_drain,
            args=(log_reader, take_line, daemon._log_ended),
            name=f"rclone-log-{process.pid}",
            daemon=True,
        )
        # Undone in reverse order: the daemon is stopped, and then its log is read to the end.
        undo.callback(_join, reader, settings.rclone.stop_seconds)
        undo.callback(daemon.stop, settings.rclone.stop_seconds)
        reader.start()
        yield daemon


@contextmanager
def _keeper(folder: Path, stop_seconds: float, log_reader: IO[bytes]) -> Iterator[IO[bytes]]:
    """Run a keeper for the length of the block; yields the pipe that it reads from."""
    ticks = str(max(1, round(stop_seconds * 10)))
    with subprocess.Popen(
        ["/bin/sh", "-c", _KEEP, "efss-transfer-keeper", str(folder), ticks],
        stdin=subprocess.PIPE,
        stdout=log_reader,
        stderr=subprocess.DEVNULL,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        cwd="/",
        start_new_session=True,  # a Ctrl-C in the function's terminal must not reach it
        bufsize=0,
    ) as keeper:
        pipe = cast(IO[bytes], keeper.stdin)
        try:
            yield pipe
        finally:
            # Two lines, because the keeper reads two, even if no pid was written.
            with suppress(BrokenPipeError):
                pipe.write(b"\ndone\n")


def _pipe() -> tuple[IO[bytes], IO[bytes]]:
    """The reading and the writing end of a pipe."""
    reader, writer = os.pipe()
    return os.fdopen(reader, "rb"), os.fdopen(writer, "wb")


@contextmanager
def _listener(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen(_BACKLOG)
        yield listener


def _launcher(
    command: list[str],
    settings: Settings,
    folder: Path,
    listener: socket.socket,
    keeper: IO[bytes],
    log: IO[bytes],
    proxy: str | None,
) -> Callable[[], subprocess.Popen[bytes]]:
    """A function that starts the daemon, with all lookups done: the sandbox prevents them."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "XDG_CACHE_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "LISTEN_FDS": "1",
        # While rclone boots, almost no memory becomes garbage: without the collector it boots in
        # three quarters of the time. `RcClient.enable_garbage_collection` turns it on.
        "GOGC": "off",
        **sandbox.go_environment(settings),
    }
    # Go's own variables, by which the operator chooses the certificates to trust.
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        if name in os.environ:
            environment[name] = os.environ[name]
    if proxy is not None:
        # For backends with HTTP clients of their own, which ignore the flag: they must not bypass
        # the guard. Neither has its secret, so it refuses them: see network.py.
        environment |= {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy}
    script = _LAUNCH.format(limits=sandbox.ulimit_commands(settings))
    account = run_as.find_account(settings.rclone.user)
    # The folder and its socket belong to the function's user, so only that user can reach the rc
    # API, and another transfer's rclone cannot.
    return lambda: subprocess.Popen(
        [str(sandbox.SHELL), "-c", script, "efss-transfer-launch", *command],
        stdin=listener.fileno(),
        stdout=keeper,
        stderr=log,
        env=environment,
        cwd=folder,
        process_group=0,
        user=account and account.pw_uid,
        group=account and account.pw_gid,
        extra_groups=account and [],
    )


def _join(thread: threading.Thread, seconds: float) -> None:
    """Wait for a thread, if it was started."""
    if thread.is_alive():
        thread.join(seconds)


def _drain(log: IO[bytes], take_line: Callable[[bytes], None], ended: threading.Event) -> None:
    """Read the log to its end, an empty line: a full pipe would block rclone and its callers."""
    try:
        line = b"-"
        while line:
            take_line(line := log.readline(_MAX_LINE_BYTES))
    finally:
        ended.set()
