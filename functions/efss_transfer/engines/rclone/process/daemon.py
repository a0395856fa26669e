"""The rclone process: booted, watched and ended.

Nothing of a transfer outlives this module's context manager, whatever happens:

* the function ends normally or by an error: the daemon is stopped, reaped, and its
  folder removed, in the reverse order of their making;
* the daemon dies: its end of the socket closes, so a call fails at once;
* the function is killed: the keeper, a small shell that was started before the daemon,
  sees the end of its pipe, and stops the daemon and removes the folder instead.

Why a keeper and not PR_SET_PDEATHSIG: that signal is tied to the thread that forked,
it cannot remove a folder, and it gives rclone no second signal if it is deaf to the
first. With the keeper rclone gets SIGTERM first, and so aborts its open uploads.
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
# As many may wait to be taken as there are calls at a time, and more: on a machine with much to
# do rclone takes them late.
_BACKLOG: Final = 1024
_LONGEST_LINE: Final = 1 << 20

# The socket arrives as standard input and becomes descriptor 3, where socket activation
# wants it; LISTEN_PID must be the daemon's own pid, which `exec` keeps. Its pid goes to
# the keeper before rclone exists, so there is no moment in which a kill of the function
# could leave an rclone that the keeper does not know. Its limits stand before it exists, too.
_LAUNCH: Final = """
echo $$
exec 3<&0 </dev/null >/dev/null
{limits}
LISTEN_PID=$$ exec "$@"
"""

# It waits for a word that says that all is done. The end of the pipe without that word
# means that the function is dead. It ignores the signals that end a process group or a
# service, because that is when it is needed, and it ends by itself within its ticks.
# Its standard output is the reading end of rclone's log: without a reader, rclone would
# die of SIGPIPE at its next line, before it could abort its uploads.
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

# What every daemon gets. The address cannot be bound: if the inherited socket is not
# taken, rclone exits instead of listening on TCP. No write timeout, because a reply may
# take as long as it takes. The retries and timeouts bound how long a dead storage can
# hold a transfer: rclone's defaults hold it for minutes (efss-facts.md, "server gone").
#
# Low-level retries multiply: of a file, of each request for it, and of each break in its
# reading. Measured for 1, 2, 3 and 10: a file whose GET always says 500 costs 1, 4, 9 and
# 100 requests in 0.2, 0.3, 2 and 184 s; one that is locked is sent 1, 2, 3 and 10 times;
# an upload that Nextcloud has locked (423) while it puts it together holds for 5, 30, 106 s
# and more than an hour. But with 1 a single 503 among thousands of listings, or a single
# break of a connection, fails the whole. So it is 2.
_FLAGS: Final = (
    "rcd",
    "--rc-addr=unix:///dev/null/x",
    "--rc-no-auth",
    # A range of a file can be asked for, which no call of the API does: see ranges.py.
    "--rc-serve",
    "--rc-serve-no-modtime",
    "--rc-server-write-timeout=0",
    "--config=",
    "--use-json-log",
    "--log-level=INFO",
    "--retries=1",
    "--low-level-retries=2",
    "--contimeout=10s",
)


class Daemon:
    """A running `rclone rcd`, which listens on `socket_path` and on nothing else."""

    def __init__(self, process: subprocess.Popen[bytes], socket_path: Path) -> None:
        self.socket_path = socket_path
        self._process = process
        self._ended = threading.Event()

    @property
    def pid(self) -> int:
        """Its process id, which is also the id of its process group."""
        return self._process.pid

    def stop(self, seconds: float) -> None:
        """End it: SIGTERM, `seconds` to obey, then SIGKILL to its whole group."""
        self._process.terminate()
        until = time.monotonic() + seconds
        try:
            # The end of its log comes with its death, and is learnt without polling.
            self._ended.wait(seconds)
            self._process.wait(max(0.05, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            _LOG.warning("rclone did not obey SIGTERM for %.1f s and is killed", seconds)
            # The group's number is its own for as long as it has not been waited for.
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
    """Boot a daemon in its sandbox for the length of the block, and leave nothing of it behind.

    `take_line` gets every line of its log, from a thread of its own; when the block has
    been left, the last line was taken. Where the kernel can do that, it may connect to
    `connect_ports` of TCP alone; None is any. With ports there is no UDP, and so no asking
    where a host is, unless `udp` says so. `proxy`, such as `socks5://127.0.0.1:1080`, is
    where its HTTP goes through; it stands in its arguments, so it must hold no secret.
    Raises EngineError if it cannot be started, and ConfigurationError if the user who it
    is to run as cannot be. Returns at once: the first call waits in the socket's backlog
    until rclone is up.
    """
    with ExitStack() as undo:
        try:
            # The keeper knows the folder's name before there is a folder: there is no moment
            # in which a kill of the function could leave what nobody knows of.
            folder = settings.runtime_dir / f"efss-transfer-{secrets.token_hex(8)}"
            log_end, log_start = (undo.enter_context(end) for end in _piped())
            keeper = undo.enter_context(_kept(folder, settings.rclone.stop_seconds, log_end))
            folder.mkdir(mode=0o700)
            undo.callback(shutil.rmtree, folder, ignore_errors=True)
            listener = undo.enter_context(_listening(folder / "rc"))
            command = [str(binary), *_FLAGS, f"--timeout={settings.rclone.stall_seconds:.10g}s"]
            if proxy is not None:
                command.append(f"--http-proxy={proxy}")
            launch = _launcher(command, settings, folder, listener, keeper, log_start, proxy)
            process = sandbox.run_confined(launch, binary, folder, connect_ports, udp=udp)
            _LOG.debug("rclone was started as process %d", process.pid)
            # Only the daemon holds these from here on: should it die, whoever is connected
            # or waits in the backlog learns it at once, and its log ends.
            listener.close()
            log_start.close()
        except OSError as error:
            # No `from`: the error's own text would name paths of this machine.
            raise EngineError(f"rclone could not be started ({type(error).__name__}).") from None
        daemon = Daemon(process, folder / "rc")
        reader = threading.Thread(
            target=_drain,
            args=(log_end, take_line, daemon._ended),
            name=f"rclone-log-{process.pid}",
            daemon=True,
        )
        # Undone last to first: the daemon is stopped, and then its log is read to the end.
        undo.callback(_join, reader, settings.rclone.stop_seconds)
        undo.callback(daemon.stop, settings.rclone.stop_seconds)
        reader.start()
        yield daemon


@contextmanager
def _kept(folder: Path, stop_seconds: float, log_end: IO[bytes]) -> Iterator[IO[bytes]]:
    """A keeper for the length of the block; the pipe that it watches."""
    ticks = str(max(1, round(stop_seconds * 10)))
    with subprocess.Popen(
        ["/bin/sh", "-c", _KEEP, "efss-transfer-keeper", str(folder), ticks],
        stdin=subprocess.PIPE,
        stdout=log_end,
        stderr=subprocess.DEVNULL,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        cwd="/",
        start_new_session=True,  # a Ctrl-C in the function's terminal must not reach it
        bufsize=0,
    ) as keeper:
        watched = cast(IO[bytes], keeper.stdin)
        try:
            yield watched
        finally:
            # Two lines, so that it is content even if no pid was ever written.
            with suppress(BrokenPipeError):
                watched.write(b"\ndone\n")


def _piped() -> tuple[IO[bytes], IO[bytes]]:
    end, start = os.pipe()
    return os.fdopen(end, "rb"), os.fdopen(start, "wb")


@contextmanager
def _listening(path: Path) -> Iterator[socket.socket]:
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
    """Starts it. All that must be looked up is looked up before: in the sandbox it cannot be."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "XDG_CACHE_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "LISTEN_FDS": "1",
        # Nothing of what is read at the start is garbage: a quarter of the boot's time is
        # saved by not looking for any. `RcClient.enable_garbage_collection` ends this.
        "GOGC": "off",
        **sandbox.go_environment(settings),
    }
    # Which certificates to trust is the operator's choice, and Go's own variables for it.
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        if name in os.environ:
            environment[name] = os.environ[name]
    if proxy is not None:
        # For what makes HTTP connections of its own and does not look at the flag.
        environment |= {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy}
    script = _LAUNCH.format(limits=sandbox.ulimit_commands(settings))
    owner = run_as.find_account(settings.rclone.user)
    # The folder and its socket stay the function's: whom the function runs as is then the
    # only one who can reach the rc API, and another transfer's rclone is not.
    return lambda: subprocess.Popen(
        [str(sandbox.SHELL), "-c", script, "efss-transfer-launch", *command],
        stdin=listener.fileno(),
        stdout=keeper,
        stderr=log,
        env=environment,
        cwd=folder,
        process_group=0,
        user=owner and owner.pw_uid,
        group=owner and owner.pw_gid,
        extra_groups=owner and [],
    )


def _join(thread: threading.Thread, seconds: float) -> None:
    """Wait for a thread, which may not have been started."""
    if thread.is_alive():
        thread.join(seconds)


def _drain(log: IO[bytes], take_line: Callable[[bytes], None], ended: threading.Event) -> None:
    """Read the log to its end: a full pipe would block rclone, and any call to it."""
    try:
        while line := log.readline(_LONGEST_LINE):
            take_line(line)
    finally:
        ended.set()
