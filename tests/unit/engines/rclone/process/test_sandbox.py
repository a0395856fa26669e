"""The sandbox, shown by what a shell that is started in it can still do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from efss_transfer.config.settings import Settings
from efss_transfer.engines.rclone.process import landlock, run_as, sandbox, seccomp
from efss_transfer.model.errors import ConfigurationError

needs_landlock = pytest.mark.skipif(landlock.abi() == 0, reason="this kernel has no Landlock")
needs_scopes = pytest.mark.skipif(
    landlock.abi() < landlock.BEYOND_SINCE, reason="this kernel's Landlock knows no scopes"
)
needs_seccomp = pytest.mark.skipif(not seccomp.available(), reason="no filters here")


def settings(**chosen: str) -> Settings:
    return Settings.read({f"EFSS_TRANSFER_{name}": value for name, value in chosen.items()})


def shell(
    script: str,
    *words: object,
    folder: Path,
    binary: Path = sandbox.SHELL,
    ports: frozenset[int] | None = None,
    **options: Any,
) -> subprocess.CompletedProcess[str]:
    """What became of a script in the sandbox."""

    def launch() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sandbox.SHELL, "-c", script, "sh", *map(str, words)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **options,
        )

    return sandbox.run_confined(launch, binary, folder, ports)


# Programs that a script has of its own would have to be started; these are the shell's.
READS = "read -r line <$1 && echo got it"
WRITES = ": >$1 && echo got it"


@needs_landlock
@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/self/status", sys.executable, __file__])
def test_what_it_starts_cannot_read(tmp_path: Path, path: str) -> None:
    outcome = shell(READS, path, folder=tmp_path)
    assert "got it" not in outcome.stdout
    assert "ermission denied" in outcome.stderr


@needs_landlock
@pytest.mark.parametrize(
    "path",
    [
        "/etc/hosts",
        "/etc/resolv.conf",
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/ssl/certs/ISRG_Root_X1.pem",  # a link, as all are there
        "/etc/mime.types",
        "/etc/localtime",
    ],
)
def test_what_it_starts_reads_what_it_needs(tmp_path: Path, path: str) -> None:
    if not Path(path).exists():
        pytest.skip("it is not on this machine")
    assert shell("while read -r line; do :; done <$1", path, folder=tmp_path).stderr == ""


@needs_landlock
def test_certificates_that_the_operator_chose_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "own").mkdir()
    for name in ("own.pem", "other.pem", "own/one.pem"):
        (tmp_path / name).write_text("-----BEGIN CERTIFICATE-----\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", f"/nowhere:{tmp_path / 'own'}")
    told = [
        shell(READS, tmp_path / name, folder=tmp_path / "work").stdout
        for name in ("own.pem", "own/one.pem", "other.pem")
    ]
    assert told == ["got it\n", "got it\n", ""]


@needs_landlock
def test_what_it_starts_cannot_write_but_into_nothing(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("content")
    for path in (tmp_path / "there", tmp_path / "new", Path(tempfile.gettempdir(), "efss-new")):
        assert "ermission denied" in shell(WRITES, path, folder=tmp_path).stderr
    assert (tmp_path / "there").read_text() == "content"
    assert [file.name for file in tmp_path.iterdir()] == ["there"]
    assert shell(WRITES, "/dev/null", folder=tmp_path).stdout == "got it\n"


@needs_landlock
def test_what_it_starts_can_start_the_shell_and_the_binary_alone(
    tmp_path: Path, rclone: Path
) -> None:
    script = '"$@" && echo got it'
    assert "got it" not in shell(script, sys.executable, "-V", folder=tmp_path).stdout
    assert "got it" not in shell(script, rclone, "version", folder=tmp_path).stdout
    assert "got it" in shell(script, rclone, "version", folder=tmp_path, binary=rclone).stdout
    assert "got it" in shell(script, "/bin/sh", "-c", ":", folder=tmp_path).stdout


@needs_scopes
def test_what_it_starts_can_signal_nobody_else(tmp_path: Path) -> None:
    outcome = shell("kill -0 $1 || kill -0 $$ && echo itself", os.getpid(), folder=tmp_path)
    assert "ermitted" in outcome.stderr
    assert outcome.stdout == "itself\n"


def status_of_a_shell(folder: Path, ports: frozenset[int] | None) -> str:
    """What the kernel says of a shell in the sandbox: Landlock forbids it to read that itself."""

    def launch() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sandbox.SHELL, "-c", "read x"], stdin=subprocess.PIPE)

    with sandbox.run_confined(launch, sandbox.SHELL, folder, ports) as process:
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.communicate()
    return status


@needs_landlock
def test_no_setuid_program_gives_it_anything(tmp_path: Path) -> None:
    assert "NoNewPrivs:\t1" in status_of_a_shell(tmp_path, None)


def test_the_function_itself_stays_as_it_was(tmp_path: Path) -> None:
    shell(":", folder=tmp_path, ports=frozenset())
    (tmp_path / "written").write_text("content")
    assert Path("/etc/passwd").read_text()
    assert subprocess.run([sys.executable, "-V"], check=True, capture_output=True).stdout
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()),
        socket.socket(socket.AF_UNIX),
    ):
        pass
    assert "NoNewPrivs:\t0" in Path("/proc/self/status").read_text()
    assert "rclone-start" not in {thread.name for thread in threading.enumerate()}


def test_what_the_start_raises_is_raised(tmp_path: Path) -> None:
    def launch() -> None:
        raise ValueError("by the launch itself")

    with pytest.raises(ValueError, match="by the launch itself"):
        sandbox.run_confined(launch, sandbox.SHELL, tmp_path, None)


# --- Sockets, as Python makes them: a filter holds for a thread alone --------------------


def in_the_filter(make: Callable[[], socket.socket], *, udp: bool) -> str:
    """What becomes of a socket in a thread with the filter."""
    told: list[str] = []

    def attempt() -> None:
        seccomp.restrict_thread(udp=udp)
        try:
            make().close()
            told.append("made")
        except PermissionError:
            told.append("refused")
        except OSError as error:
            told.append(str(error))

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return told[0]


@needs_seccomp
@pytest.mark.parametrize(
    ("family", "kind", "protocol", "expected"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, 0, "made"),
        (socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC, socket.IPPROTO_TCP, "made"),
        (socket.AF_INET6, socket.SOCK_STREAM, 0, "made"),
        (socket.AF_INET, socket.SOCK_DGRAM, 0, "made where it may ask for hosts"),
        (socket.AF_INET6, socket.SOCK_DGRAM, 0, "made where it may ask for hosts"),
        (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP, "refused"),
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP, "refused"),
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP, "refused"),
        (socket.AF_UNIX, socket.SOCK_STREAM, 0, "refused"),
        (socket.AF_UNIX, socket.SOCK_DGRAM, 0, "refused"),
        (socket.AF_NETLINK, socket.SOCK_RAW, 0, "refused"),
        (socket.AF_PACKET, socket.SOCK_RAW, 0, "refused"),
    ],
)
@pytest.mark.parametrize("udp", [True, False])
def test_which_sockets_can_be_made(
    family: int, kind: int, protocol: int, expected: str, udp: bool
) -> None:
    if family == socket.AF_INET6 and not socket.has_ipv6:
        pytest.skip("there is no IPv6 here")
    if expected.startswith("made where"):
        expected = "made" if udp else "refused"
    assert in_the_filter(lambda: socket.socket(family, kind, protocol), udp=udp) == expected


@needs_seccomp
@pytest.mark.parametrize("ports", [None, frozenset({1})])
def test_what_it_starts_has_the_filter(tmp_path: Path, ports: frozenset[int] | None) -> None:
    assert "Seccomp:\t2" in status_of_a_shell(tmp_path, ports)


# --- Limits ------------------------------------------------------------------------------


def limits_of(chosen: Settings) -> dict[str, str]:
    """The limits, each with its unit, that hold once the launcher's commands have run."""
    commands = sandbox.ulimit_commands(chosen)
    script = f'{commands}\nwhile read -r line; do echo "$line"; done </proc/$$/limits'
    lines = subprocess.run(
        [sandbox.SHELL, "-c", script], capture_output=True, text=True, check=True
    ).stdout.splitlines()[1:]
    return {line[:25].strip(): " ".join(line[25:].split()) for line in lines}


def test_the_launcher_sets_the_limits() -> None:
    held = limits_of(settings(MEMORY_BYTES=str(1 << 30)))
    assert held["Max data size"] == "1073741824 1073741824 bytes"
    assert held["Max file size"] == "0 0 bytes"
    assert held["Max core file size"] == "0 0 bytes"
    assert held["Max open files"] == "4096 4096 files"


def test_where_rclone_has_a_user_of_its_own_his_processes_are_limited() -> None:
    own = limits_of(settings())["Max processes"]
    assert own != "4096 4096 processes"
    assert limits_of(settings(USER="nobody"))["Max processes"] == "4096 4096 processes"


def test_a_limit_that_holds_already_is_not_raised() -> None:
    code = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))\n"
        "from efss_transfer.engines.rclone.process import sandbox\n"
        "from efss_transfer.config.settings import Settings\n"
        "print(sandbox.ulimit_commands(Settings.read({})))\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ulimit -n 300 " in told.stdout


def test_go_collects_garbage_before_the_bound() -> None:
    assert sandbox.go_environment(settings(MEMORY_BYTES="1000000000"))["GOMEMLIMIT"] == "800000000"


# --- What is told ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("abi", "missing"),
    [
        (0, {"files", "programs", "tcp", "processes"}),
        (1, {"tcp", "processes"}),
        (3, {"tcp", "processes"}),
        (4, {"processes"}),
        (5, {"processes"}),
        (6, set()),
        (99, set()),
    ],
)
def test_a_measure_that_the_kernel_lacks_is_told_as_missing(
    monkeypatch: pytest.MonkeyPatch, abi: int, missing: set[str]
) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: abi)
    told = sandbox.measures(settings(USER="nobody"))
    assert {name for name, what in told.items() if what is False} == missing


@needs_landlock
@pytest.mark.parametrize("abi", range(1, landlock.abi() + 1))
def test_it_works_with_each_version_of_landlock_that_this_kernel_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abi: int
) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: abi)
    assert (
        "ermission denied"
        in shell(READS, "/etc/passwd", folder=tmp_path, ports=frozenset({1})).stderr
    )
    assert shell(WRITES, "/dev/null", folder=tmp_path).stdout == "got it\n"


def test_to_run_as_root_is_told_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert sandbox.measures(settings())["user"] is False
    assert sandbox.measures(settings(USER="nobody"))["user"] == "nobody"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert sandbox.measures(settings())["user"] == "the function's, which is not root"


def test_that_connections_are_given_ports_is_told() -> None:
    told = sandbox.measures(settings(), by_port=True)
    if landlock.abi() >= landlock.TCP_SINCE:
        assert told["tcp"] == "listens on no port, connects to the guard's alone"
    if seccomp.available():
        assert told["other_sockets"] == "none"


# --- The user ----------------------------------------------------------------------------


@pytest.fixture
def forgotten() -> Iterator[None]:
    """Users are looked up once for a process; here each test is another one."""
    run_as.find_account.cache_clear()
    yield
    run_as.find_account.cache_clear()


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize(
    ("uid", "user", "says"),
    [
        (1000, "nobody", "does not run as root"),
        (0, "no-such-user", "does not name a user"),
        (0, "root", "other than root"),
    ],
)
def test_a_user_who_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, uid: int, user: str, says: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    with pytest.raises(ConfigurationError, match=says) as refused:
        run_as.find_account(user)
    assert "EFSS_TRANSFER_USER" in str(refused.value)


@pytest.mark.usefixtures("forgotten")
def test_root_without_its_rights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that drops all capabilities."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(run_as, "_capabilities", lambda: 0)
    with pytest.raises(ConfigurationError, match="CAP_KILL, CAP_SETGID, CAP_SETUID"):
        run_as.find_account("nobody")
