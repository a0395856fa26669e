"""The sandbox, tested by what a shell that is started in it can still do."""

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
    landlock.abi() < landlock.SCOPES_SINCE, reason="this kernel's Landlock has no scopes"
)
needs_seccomp = pytest.mark.skipif(
    not seccomp.available(), reason="this kernel has no seccomp filters"
)


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
    """Run a script in the sandbox."""

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


# Built-in commands of the shell: the sandbox could not start other programs.
READ_FILE = "read -r line <$1 && echo got it"
WRITE_FILE = ": >$1 && echo got it"


@needs_landlock
@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/self/status", sys.executable, __file__])
def test_shell_cannot_read_other_files(tmp_path: Path, path: str) -> None:
    outcome = shell(READ_FILE, path, folder=tmp_path)
    assert "got it" not in outcome.stdout
    assert "ermission denied" in outcome.stderr


@needs_landlock
@pytest.mark.parametrize(
    "path",
    [
        "/etc/hosts",
        "/etc/resolv.conf",
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/ssl/certs/ISRG_Root_X1.pem",  # a symbolic link, as all files in this folder
        "/etc/mime.types",
        "/etc/localtime",
    ],
)
def test_shell_can_read_files_that_rclone_needs(tmp_path: Path, path: str) -> None:
    if not Path(path).exists():
        pytest.skip("this machine does not have the file")
    assert shell("while read -r line; do :; done <$1", path, folder=tmp_path).stderr == ""


@needs_landlock
def test_shell_can_read_the_certificates_of_the_operator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "own").mkdir()
    for name in ("own.pem", "other.pem", "own/one.pem"):
        (tmp_path / name).write_text("-----BEGIN CERTIFICATE-----\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", f"/nowhere:{tmp_path / 'own'}")
    outputs = [
        shell(READ_FILE, tmp_path / name, folder=tmp_path / "work").stdout
        for name in ("own.pem", "own/one.pem", "other.pem")
    ]
    assert outputs == ["got it\n", "got it\n", ""]


@needs_landlock
def test_shell_can_write_only_to_dev_null(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("content")
    for path in (tmp_path / "there", tmp_path / "new", Path(tempfile.gettempdir(), "efss-new")):
        assert "ermission denied" in shell(WRITE_FILE, path, folder=tmp_path).stderr
    assert (tmp_path / "there").read_text() == "content"
    assert [file.name for file in tmp_path.iterdir()] == ["there"]
    assert shell(WRITE_FILE, "/dev/null", folder=tmp_path).stdout == "got it\n"


@needs_landlock
def test_shell_can_start_only_a_shell_and_the_binary(tmp_path: Path, rclone: Path) -> None:
    script = '"$@" && echo got it'
    assert "got it" not in shell(script, sys.executable, "-V", folder=tmp_path).stdout
    assert "got it" not in shell(script, rclone, "version", folder=tmp_path).stdout
    assert "got it" in shell(script, rclone, "version", folder=tmp_path, binary=rclone).stdout
    assert "got it" in shell(script, "/bin/sh", "-c", ":", folder=tmp_path).stdout


@needs_scopes
def test_shell_can_signal_only_itself(tmp_path: Path) -> None:
    outcome = shell("kill -0 $1 || kill -0 $$ && echo itself", os.getpid(), folder=tmp_path)
    assert "ermitted" in outcome.stderr
    assert outcome.stdout == "itself\n"


def status_of_a_shell(folder: Path, ports: frozenset[int] | None) -> str:
    """The kernel's status of a shell in the sandbox, which the shell itself cannot read."""

    def launch() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sandbox.SHELL, "-c", "read x"], stdin=subprocess.PIPE)

    with sandbox.run_confined(launch, sandbox.SHELL, folder, ports) as process:
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.communicate()
    return status


@needs_landlock
def test_setuid_programs_give_no_rights(tmp_path: Path) -> None:
    assert "NoNewPrivs:\t1" in status_of_a_shell(tmp_path, None)


def test_function_itself_stays_unconfined(tmp_path: Path) -> None:
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


def test_error_of_the_launch_is_raised(tmp_path: Path) -> None:
    def launch() -> None:
        raise ValueError("in the launch")

    with pytest.raises(ValueError, match="in the launch"):
        sandbox.run_confined(launch, sandbox.SHELL, tmp_path, None)


# --- Sockets, created in Python: a filter applies to one thread --------------------------


def outcome_in_the_filter(create: Callable[[], socket.socket], *, udp: bool) -> str:
    """The outcome of creating a socket in a thread with the filter."""
    outcomes: list[str] = []

    def attempt() -> None:
        seccomp.restrict_thread(udp=udp)
        try:
            create().close()
            outcomes.append("created")
        except PermissionError:
            outcomes.append("refused")
        except OSError as error:
            outcomes.append(str(error))

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return outcomes[0]


@needs_seccomp
@pytest.mark.parametrize(
    ("family", "kind", "protocol", "expected"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, 0, "created"),
        (socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC, socket.IPPROTO_TCP, "created"),
        (socket.AF_INET6, socket.SOCK_STREAM, 0, "created"),
        (socket.AF_INET, socket.SOCK_DGRAM, 0, "created if UDP is allowed"),
        (socket.AF_INET6, socket.SOCK_DGRAM, 0, "created if UDP is allowed"),
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
def test_sockets_that_can_be_created(
    family: int, kind: int, protocol: int, expected: str, udp: bool
) -> None:
    if family == socket.AF_INET6 and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    if expected == "created if UDP is allowed":
        expected = "created" if udp else "refused"
    assert outcome_in_the_filter(lambda: socket.socket(family, kind, protocol), udp=udp) == expected


@needs_seccomp
@pytest.mark.parametrize("ports", [None, frozenset({1})])
def test_shell_has_the_filter(tmp_path: Path, ports: frozenset[int] | None) -> None:
    assert "Seccomp:\t2" in status_of_a_shell(tmp_path, ports)


# --- Limits ------------------------------------------------------------------------------


def limits_of(chosen: Settings) -> dict[str, str]:
    """The limits, each with its unit, after the launcher's commands have run."""
    commands = sandbox.ulimit_commands(chosen)
    script = f'{commands}\nwhile read -r line; do echo "$line"; done </proc/$$/limits'
    lines = subprocess.run(
        [sandbox.SHELL, "-c", script], capture_output=True, text=True, check=True
    ).stdout.splitlines()[1:]
    return {line[:25].strip(): " ".join(line[25:].split()) for line in lines}


def test_launcher_sets_the_limits() -> None:
    limits = limits_of(settings(MEMORY_BYTES=str(1 << 30)))
    assert limits["Max data size"] == "1073741824 1073741824 bytes"
    assert limits["Max file size"] == "0 0 bytes"
    assert limits["Max core file size"] == "0 0 bytes"
    assert limits["Max open files"] == "4096 4096 files"


def test_processes_are_limited_if_rclone_has_its_own_user() -> None:
    own = limits_of(settings())["Max processes"]
    assert own != "4096 4096 processes"
    assert limits_of(settings(USER="nobody"))["Max processes"] == "4096 4096 processes"


def test_existing_lower_limit_is_kept() -> None:
    code = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))\n"
        "from efss_transfer.engines.rclone.process import sandbox\n"
        "from efss_transfer.config.settings import Settings\n"
        "print(sandbox.ulimit_commands(Settings.read({})))\n"
    )
    commands = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "ulimit -n 300 " in commands.stdout


def test_go_collects_garbage_before_the_memory_limit() -> None:
    assert sandbox.go_environment(settings(MEMORY_BYTES="1000000000"))["GOMEMLIMIT"] == "800000000"


# --- The list of measures ----------------------------------------------------------------


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
def test_measures_that_the_kernel_lacks_are_false(
    monkeypatch: pytest.MonkeyPatch, abi: int, missing: set[str]
) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: abi)
    found = sandbox.measures(settings(USER="nobody"))
    assert {name for name, value in found.items() if value is False} == missing


@needs_landlock
@pytest.mark.parametrize("abi", range(1, landlock.abi() + 1))
def test_sandbox_works_with_each_abi_that_this_kernel_supports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abi: int
) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: abi)
    assert (
        "ermission denied"
        in shell(READ_FILE, "/etc/passwd", folder=tmp_path, ports=frozenset({1})).stderr
    )
    assert shell(WRITE_FILE, "/dev/null", folder=tmp_path).stdout == "got it\n"


def test_user_is_false_if_rclone_runs_as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert sandbox.measures(settings())["user"] is False
    assert sandbox.measures(settings(USER="nobody"))["user"] == "nobody"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert sandbox.measures(settings())["user"] == "the function's own, not root"


def test_measures_include_the_limit_to_ports() -> None:
    found = sandbox.measures(settings(), by_port=True)
    if landlock.abi() >= landlock.TCP_SINCE:
        assert found["tcp"] == "listens on no port, connects only to the guard"
    if seccomp.available():
        assert found["other_sockets"] == "none"


# --- The user ----------------------------------------------------------------------------


@pytest.fixture
def uncached_accounts() -> Iterator[None]:
    """Accounts are cached for a process; each test here needs a new look-up."""
    run_as.find_account.cache_clear()
    yield
    run_as.find_account.cache_clear()


@pytest.mark.usefixtures("uncached_accounts")
@pytest.mark.parametrize(
    ("uid", "user", "message"),
    [
        (1000, "nobody", "does not run as root"),
        (0, "no-such-user", "does not name a user"),
        (0, "root", "other than root"),
    ],
)
def test_unusable_user_is_refused(
    monkeypatch: pytest.MonkeyPatch, uid: int, user: str, message: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    with pytest.raises(ConfigurationError, match=message) as refused:
        run_as.find_account(user)
    assert "EFSS_TRANSFER_USER" in str(refused.value)


@pytest.mark.usefixtures("uncached_accounts")
def test_root_without_capabilities_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that drops all capabilities."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(run_as, "_effective_capabilities", lambda: 0)
    with pytest.raises(ConfigurationError, match="CAP_KILL, CAP_SETGID, CAP_SETUID"):
        run_as.find_account("nobody")
