"""What rclone cannot do, shown by asking rclone to do it: whoever reaches its rc API could.

Most tests ask twice, in the sandbox and as on a kernel without Landlock: what is refused
here is refused by nothing else.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from efss_transfer.config.settings import Settings
from efss_transfer.engines.rclone.engine import RcloneEngine
from efss_transfer.engines.rclone.process import landlock, seccomp
from efss_transfer.engines.rclone.process.daemon import running_daemon
from efss_transfer.engines.rclone.rc.client import RcClient
from efss_transfer.model.errors import EngineError
from support import http_servers, service_process
from support.certificates import certificate
from support.service_process import GATEWAY, Function
from support.storages import Storage, serving

needs_landlock = pytest.mark.skipif(landlock.abi() == 0, reason="this kernel has no Landlock")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")

Boot = Callable[..., AbstractContextManager[RcClient]]


@pytest.fixture
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("sandbox")
    yield folder
    assert service_process.leftovers(folder) == []


@pytest.fixture
def boot(runtime: Path, rclone: Path) -> Boot:
    """Boots an rclone; a client of its rc API, to which nothing is forbidden."""

    @contextmanager
    def running(connect_ports: frozenset[int] | None = None, **options: Any) -> Iterator[RcClient]:
        chosen = settings(runtime)
        with (
            running_daemon(
                rclone, chosen, lambda _: None, connect_ports=connect_ports, **options
            ) as daemon,
            RcClient(daemon.socket_path, chosen.rclone.boot_seconds) as rc,
        ):
            yield rc

    return running


@pytest.fixture(params=["confined", "not confined"])
def confined(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether rclone is confined; where it is not, the same question has another answer."""
    if request.param == "confined":
        if landlock.abi() == 0:
            pytest.skip("this kernel has no Landlock")
        return True
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    return False


def settings(runtime: Path, **chosen: str) -> Settings:
    return Settings.read(
        {
            "EFSS_TRANSFER_RUNTIME_DIR": str(runtime),
            **{f"EFSS_TRANSFER_{name}": value for name, value in chosen.items()},
        }
    )


def asked(rc: RcClient, call: str, **parameters: Any) -> str:
    """What rclone says against it; nothing if it did it."""
    work = rc.start_job(call, parameters)
    assert work.wait(60)
    return work.error


@contextmanager
def listening() -> Iterator[tuple[str, list[http.server.BaseHTTPRequestHandler]]]:
    """A WebDAV server with nothing in it: its URL, and the requests that reached it."""
    came: list[http.server.BaseHTTPRequestHandler] = []

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        came.append(handler)
        http_servers.reply(handler, 207, http_servers.multistatus({"/": 0}), "text/xml")

    with http_servers.misbehaving(answer) as url:
        yield url, came


def port(url: str) -> int:
    return int(url.rpartition(":")[2])


# --- Files -------------------------------------------------------------------------------


def test_rclone_cannot_read_files_of_this_machine(boot: Boot, confined: bool) -> None:
    with boot() as rc:
        said = asked(
            rc,
            "operations/copyfile",
            srcFs="/etc",
            srcRemote="passwd",
            dstFs=":memory:",
            dstRemote="taken/passwd",
        )
    assert ("permission denied" in said) == confined, said


@pytest.mark.parametrize("path", ["/", "/etc", "/proc", "/root", "/usr/bin", "/etc/ssl/private"])
def test_rclone_cannot_look_around(boot: Boot, path: str, confined: bool) -> None:
    if not (Path(path).is_dir() and os.access(path, os.R_OK) and list(Path(path).iterdir())):
        pytest.skip(f"{path} has nothing in it on this machine, and so shows nothing")
    with boot() as rc:
        listing = rc.start_job("operations/list", {"fs": path, "remote": ""})
        assert listing.wait(60)
    # What cannot be read is empty to rclone, and a line in its log.
    assert (listing.output["list"] == []) == confined


def test_rclone_cannot_make_anything(boot: Boot, tmp_path: Path, confined: bool) -> None:
    with boot() as rc:
        said = asked(rc, "operations/mkdir", fs=str(tmp_path), remote="made")
    assert ("permission denied" in said) == confined, said
    assert (tmp_path / "made").exists() != confined


@needs_landlock
def test_rclone_cannot_write_where_it_works_either(boot: Boot, runtime: Path) -> None:
    with boot() as rc:
        (folder,) = runtime.iterdir()
        assert "permission denied" in asked(rc, "operations/mkdir", fs=str(folder), remote="made")
        assert [file.name for file in folder.iterdir()] == ["rc"]


def test_rclone_cannot_fill_the_disk(
    boot: Boot, tmp_path: Path, webdav: Storage, confined: bool
) -> None:
    """Without Landlock there is still the limit: whatever it makes stays empty."""
    webdav.fill("much", {"file": b"content"})
    with boot() as rc:
        rc.create_remote("a", "webdav", texts(webdav.parameters))
        try:
            said = asked(rc, "sync/copy", srcFs="a:much", dstFs=str(tmp_path / "copied"))
        except EngineError:
            said = "it ended"
    assert said != ""
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) == 0


def texts(parameters: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in parameters.items()}


# --- Programs ----------------------------------------------------------------------------


def test_rclone_cannot_run_a_program(boot: Boot, confined: bool) -> None:
    """`bearer_token_command` is what an attacker would give to a WebDAV remote."""
    echo = shutil.which("echo") or "/bin/echo"
    with listening() as (url, came), boot() as rc:
        rc.create_remote("a", "webdav", {"url": url, "bearer_token_command": f"{echo} stolen"})
        said = asked(rc, "operations/list", fs="a:", remote="")
    sent = [handler.headers.get("Authorization") for handler in came]
    if confined:
        assert "permission denied" in said
        assert "Bearer stolen" not in sent
    else:
        assert said == ""
        assert "Bearer stolen" in sent


@needs_landlock
def test_the_shell_that_rclone_could_start_is_confined_too(boot: Boot) -> None:
    """It is what starts rclone, so it is allowed; it can tell what the sandbox is like."""
    with listening() as (url, came), boot() as rc:
        for number, words in enumerate(["read x </etc/passwd && echo $x", ": >/tmp/x && echo x"]):
            # rclone splits the words as its command line would be.
            command = json.dumps(["/bin/sh", "-c", words])
            rc.create_remote(f"a{number}", "webdav", {"url": url, "bearer_token_command": command})
            assert asked(rc, "operations/list", fs=f"a{number}:", remote="") != ""
    assert came == []


# --- Connections -------------------------------------------------------------------------

needs_tcp = pytest.mark.skipif(
    landlock.abi() < landlock.TCP_SINCE, reason="this kernel's Landlock knows no TCP"
)


@needs_tcp
def test_rclone_connects_to_the_given_ports_alone(boot: Boot) -> None:
    with (
        listening() as (good, came_to_good),
        listening() as (other, came_to_other),
        boot(frozenset({port(good)})) as rc,
    ):
        rc.create_remote("good", "webdav", {"url": good})
        rc.create_remote("other", "webdav", {"url": other})
        assert asked(rc, "operations/list", fs="good:", remote="") == ""
        assert "permission denied" in asked(rc, "operations/list", fs="other:", remote="")
    assert came_to_good
    assert came_to_other == []


@needs_tcp
def test_no_port_is_none_and_none_given_is_any(boot: Boot) -> None:
    with listening() as (url, came):
        with boot(frozenset()) as rc:
            rc.create_remote("a", "webdav", {"url": url})
            assert "permission denied" in asked(rc, "operations/list", fs="a:", remote="")
        assert came == []
        with boot(None) as rc:
            rc.create_remote("a", "webdav", {"url": url})
            assert asked(rc, "operations/list", fs="a:", remote="") == ""
        assert came


@needs_tcp
def test_rclone_cannot_serve(boot: Boot) -> None:
    """`serve/start` would open a port for others."""
    with boot() as rc:
        said = asked(rc, "serve/start", type="http", fs=":memory:", addr="127.0.0.1:0")
    assert "permission denied" in said


def test_http_goes_through_the_proxy_if_one_is_given(boot: Boot) -> None:
    with (
        listening() as (proxy, came),
        boot(frozenset({port(proxy)}), proxy=proxy) as rc,
    ):
        rc.create_remote("a", "webdav", {"url": "http://cloud.example.org/dav"})
        assert asked(rc, "operations/list", fs="a:", remote="") == ""
    assert {handler.path for handler in came} == {"http://cloud.example.org/dav/"}


def test_servers_whom_the_operator_trusts_are_reached_by_name(
    boot: Boot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Go reads the operator's certificates, and where hosts are, from within the sandbox."""
    certificate(tmp_path / "key.pem", tmp_path / "certificate.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PROPFIND(self) -> None:
            http_servers.reply(self, 207, http_servers.multistatus({"/": 0}), "text/xml")

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # rclone hangs up on whom it does not trust

    said = []
    with Server(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        with serving(server.serve_forever, server.shutdown):
            for trusted in (None, str(tmp_path / "certificate.pem")):
                if trusted:
                    monkeypatch.setenv("SSL_CERT_FILE", trusted)
                with boot() as rc:
                    url = f"https://localhost:{server.server_address[1]}"
                    rc.create_remote("a", "webdav", {"url": url})
                    said.append(asked(rc, "operations/list", fs="a:", remote=""))
    assert "certificate signed by unknown authority" in said[0]
    assert said[1] == ""


@needs_tcp
@pytest.mark.skipif(not seccomp.available(), reason="this kernel takes no filters")
@pytest.mark.parametrize("udp", [True, False])
def test_who_goes_through_a_guard_asks_nobody_where_hosts_are(boot: Boot, udp: bool) -> None:
    """Or secrets could leave as names of hosts."""
    with boot(frozenset({1}), udp=udp) as rc:
        rc.create_remote("a", "webdav", {"url": "http://no-such-host.invalid/"})
        said = asked(rc, "operations/list", fs="a:", remote="")
    assert "no-such-host.invalid" in said
    assert ("permission denied" in said) != udp, said


@pytest.mark.skipif(not seccomp.available(), reason="this kernel takes no filters")
@pytest.mark.parametrize("filtered", [True, False])
def test_rclone_cannot_reach_a_unix_socket(
    boot: Boot,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    filtered: bool,
) -> None:
    """A container engine listens on one, and so do other transfers' daemons."""
    if not filtered:
        monkeypatch.setattr(seccomp, "available", lambda: False)
    path = tmp_path_factory.mktemp("engine") / "socket"
    with socket.socket(socket.AF_UNIX) as listener, boot() as rc:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(60)
        rc.create_remote("a", "webdav", {"url": "http://engine/", "unix_socket": str(path)})
        listing = rc.start_job("operations/list", {"fs": "a:", "remote": ""})
        if not filtered:
            listener.accept()[0].close()
            listener.close()
        assert listing.wait(60)
        assert ("permission denied" in listing.error) == filtered, listing.error


# --- Memory ------------------------------------------------------------------------------


def test_a_storage_that_lists_without_end_ends_rclone_and_not_the_function(
    tmp_path: Path, webdav: Storage, s3: Storage
) -> None:
    (tmp_path / "run").mkdir()
    webdav.fill("after", {"a": b"a"})
    with (
        service_process.function(tmp_path / "run", MEMORY_BYTES=str(256 << 20)) as function,
        http_servers.misbehaving(endless_listing) as url,
    ):
        endless = {"type": "webdav", "parameters": {"url": url, "vendor": "other"}, "path": "a/"}
        problem = function.copy(endless, s3.endpoint("endless"))
        # The gateway ends such a list before rclone's memory is full.
        expected = (422, "unsupported") if GATEWAY else (500, "engine_failed")
        assert (problem.status_code, problem.json()["code"]) == expected, problem.text
        function.wait_clean()
        assert function.copy(webdav.endpoint("after"), s3.endpoint("after")).ok
        function.wait_clean()


def endless_listing(handler: http.server.BaseHTTPRequestHandler) -> None:
    """A folder with files of long names, and no last one."""
    handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    if handler.headers.get("Depth") == "0":
        http_servers.reply(handler, 207, http_servers.multistatus({handler.path: 0}), "text/xml")
        return
    handler.send_response(207)
    handler.send_header("Content-Type", "text/xml")
    handler.send_header("Connection", "close")
    handler.end_headers()
    names = {f"{handler.path.rstrip('/')}/{number}{'n' * 60_000}": 1 for number in range(16)}
    head, _, entries = http_servers.multistatus(names).partition(b"<d:response>")
    entries = b"<d:response>" + entries.removesuffix(b"</d:multistatus>")
    handler.wfile.write(head)
    while True:  # until rclone hangs up, which raises
        handler.wfile.write(entries)


# --- Another user ------------------------------------------------------------------------


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may go into; pytest's own are for one user."""
    with tempfile.TemporaryDirectory(prefix="efss-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@needs_root
def test_as_root_rclone_runs_as_the_user_who_is_set(
    open_folder: Path, rclone: Path, webdav: Storage, s3: Storage
) -> None:
    there = webdav.fill("as-nobody", {"a": b"a", "b/c": bytes(100_000)})
    shutil.copy(rclone, open_folder / "rclone")
    (open_folder / "run").mkdir(mode=0o700)
    with service_process.function(
        open_folder / "run", USER="nobody", RCLONE=str(open_folder / "rclone")
    ) as function:
        assert function.get("/healthz").json()["engines"]["rclone"]["sandbox"]["user"] == "nobody"
        assert function.copy(webdav.endpoint("as-nobody"), s3.endpoint("as-nobody")).ok
        with http_servers.slow_source(600 << 20, 1 << 20) as slow:
            events = function.post(
                {"source": slow.endpoint("data"), "destination": s3.endpoint("slow")},
                headers={"Accept": "application/x-ndjson"},
                stream=True,
            )
            first = next(events.iter_lines())
            assert json.loads(first)["event"] == "started", first
            (running,) = [one for one in function.family() if one.name() == "rclone"]
            nobody = psutil.Process(running.pid)
            assert set(nobody.uids()) == {65534}
            assert set(nobody.gids()) == {65534}
            (folder,) = (open_folder / "run").iterdir()
            assert folder.stat().st_uid == (folder / "rc").stat().st_uid == 0
            # Closing it cancels the copy: the function could end a process of another user.
            events.close()
            function.wait_clean(10)
    assert s3.hashes("bucket/as-nobody") == there


@needs_root
@pytest.mark.parametrize(("user", "says"), [("no-such-user", "does not name a user"), ("root", "")])
def test_a_user_who_cannot_be_stops_the_start(tmp_path: Path, user: str, says: str) -> None:
    (tmp_path / "run").mkdir()
    with (
        pytest.raises(requests.RequestException),
        service_process.function(tmp_path / "run", USER=user),
    ):
        pass
    log = (tmp_path / "run.log").read_text()
    assert "EFSS_TRANSFER_USER" in log
    assert says in log


@needs_root
def test_a_program_that_the_user_cannot_reach_is_said(runtime: Path, rclone: Path) -> None:
    hidden = runtime / "hidden"
    hidden.mkdir(mode=0o700)
    os.link(rclone, hidden / "rclone")
    health = RcloneEngine(settings(runtime, USER="nobody", RCLONE=str(hidden / "rclone"))).health()
    shutil.rmtree(hidden)
    assert not health.usable
    assert "EFSS_TRANSFER_USER" in str(health.detail)
    assert "EFSS_TRANSFER_RCLONE" in str(health.detail)


# --- What is told, and what fails --------------------------------------------------------


def test_health_tells_how_rclone_is_confined(function: Function) -> None:
    told = function.get("/healthz").json()["engines"]["rclone"]["sandbox"]
    assert told["no_new_privileges"] is True
    assert told["memory"] == "2147483648 bytes"
    assert bool(told["files"]) is bool(told["programs"]) is (landlock.abi() > 0)
    assert "rclone's sandbox has: no_new_privileges, files (" in function.log.read_text()


def test_without_landlock_rclone_works_and_it_is_said(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    health = RcloneEngine(settings(runtime)).health()
    assert health.usable
    assert health.sandbox is not None
    assert [health.sandbox[name] for name in ("files", "programs", "tcp", "processes")] == [
        False,
        False,
        False,
        False,
    ]


@needs_landlock
def test_a_measure_that_fails_is_an_error_and_no_rclone_runs(
    boot: Boot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: landlock.Ruleset) -> None:
        raise OSError(1, "as a container's rules could have it")

    monkeypatch.setattr(landlock.Ruleset, "restrict_thread", fail)
    with pytest.raises(EngineError, match="could not be started"), boot():
        pass
