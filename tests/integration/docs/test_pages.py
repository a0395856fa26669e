"""Every command of the README and of docs/, run as a reader would, between real servers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from efss_transfer.cli.commands.copy import run as run_command
from support import checkout, faulty_webdav, service_process
from support import storages as servers
from support.doc_blocks import DOCS, PAGES, README, blocks
from support.doc_reader import PROGRAMS, Hook, Reader, leading, serving, storage
from support.faulty_webdav import Faulty
from support.nginx import FILE, NAME, gateway, tool
from support.service_process import LOOPBACK
from support.storages import Storage

pytestmark = pytest.mark.slow

HOW_TO = DOCS / "how-to"
FOLLOWED = {
    README,
    DOCS / "tutorial.md",
    HOW_TO / "command.md",
    HOW_TO / "site-file.md",
    HOW_TO / "gateway.md",
    HOW_TO / "ten-minutes.md",
    HOW_TO / "app-passwords.md",
    HOW_TO / "nightly.md",
    HOW_TO / "migration.md",
}
FILES = {"a.h5": bytes(1 << 20), "raw/b.h5": os.urandom(200_000), "notes.txt": b"of alice"}

# Lines that are not run, each with the reason.
NOT_RUN = {
    r"scripts/demo +# .*": "tests/integration/operations/test_scripts.py runs it",
    r"scripts/test +# .*": "it runs these tests",
    r"python3 -m venv .*": "the tests have an environment; that of the README is made",
    r".*/pip install \.": "this tree is installed; the README's command is run",
    r"apt-get install .*": "changes the machine; scripts/tools brings the same nginx",
    r"systemctl daemon-reload": "there is no systemd in a test; it is asked to verify the unit",
    r"systemctl reload nginx": "nginx is started with the file by the line before it",
}


def test_every_page_with_commands_is_followed() -> None:
    with_commands = {
        page for page in PAGES if any(block.language == "sh" for block in blocks(page))
    }
    assert with_commands == FOLLOWED


def test_nothing_is_left_out_without_need() -> None:
    lines = [
        line
        for page in FOLLOWED
        for block in blocks(page)
        if block.language == "sh"
        for line in block.content.splitlines()
    ]
    for wanted in NOT_RUN:
        assert any(re.fullmatch(wanted, line) for line in lines), wanted


@pytest.fixture
def cloud() -> Iterator[Faulty]:
    with faulty_webdav.serving() as dav:
        yield dav


@pytest.fixture
def there() -> str:
    """A folder in the bucket that is this test's."""
    return f"bucket/{uuid.uuid4().hex}"


@pytest.fixture
def running() -> Iterator[ExitStack]:
    """What a page starts, until its end."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def reader(tmp_path: Path, cloud: Faulty, s3: Storage, there: str) -> Reader:
    nextcloud = cloud.nextcloud
    nextcloud.fill("Measurements", FILES)
    home = tmp_path / "home"
    home.mkdir()
    (home / "opt" / "efss-transfer").mkdir(parents=True)
    (home / "opt" / "efss-transfer" / "bin").symlink_to(PROGRAMS)
    (home / "deploy").symlink_to(servers.ROOT / "deploy")
    (home / "functions").symlink_to(servers.ROOT / "functions")
    keys = s3.parameters
    return Reader(
        home,
        {
            "HOME": str(home),
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "NO_PROXY": "127.0.0.1,localhost",
        },
        said={
            f"https://cloud.example.org{faulty_webdav.NEXTCLOUD}": nextcloud.parameters["url"],
            # Whoever logs in has the same files there, as at a real one.
            "https://cloud.example.org/remote.php/webdav": nextcloud.parameters["url"],
            "https://s3.example.org": keys["endpoint"],
            '"bucket"': f'"{there}"',
            "app-password-of-alice": nextcloud.parameters["pass"],
            "/opt/efss-transfer": f"{home}/opt/efss-transfer",
            "/etc/": f"{home}/etc/",
        },
        secrets={
            "app-password": nextcloud.parameters["pass"],
            "key-id": keys["access_key_id"],
            "secret-key": keys["secret_access_key"],
        },
        instead=dict.fromkeys(NOT_RUN, nothing),
    )


def nothing(_reader: Reader, _line: re.Match[str]) -> None:
    """What is not run."""


def knows_both(reader: Reader) -> None:
    """The reader has followed the tutorial that far."""
    for block in blocks(DOCS / "tutorial.md"):
        if "stdin" in block.marks:
            reader.run(block.content, stdin=reader.typed(block))
        elif "file" in block.marks:
            reader.write(block)


def starts(running: ExitStack, site: Path | None = None) -> dict[str, Hook]:
    """`efss-transfer serve &`, with the site file that the line names, or that one."""

    def start(reader: Reader, line: re.Match[str]) -> None:
        named = reader.home / line["site"] if line["site"] else site
        url = running.enter_context(serving(reader, named))
        reader.said["http://127.0.0.1:8080"] = url

    return {r"(EFSS_TRANSFER_SITE=(?P<site>\S+) )?efss-transfer serve &": start}


def test_the_readme(running: ExitStack, tmp_path: Path) -> None:
    """In a copy of the checkout, in an environment of its own, which pip fills."""
    home = checkout.copied(tmp_path / "home")
    kept = {name: it for name, it in os.environ.items() if not name.startswith("EFSS_TRANSFER_")}
    reader = Reader(
        home,
        {**kept, "HOME": str(home), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        said={"/tmp/efss-transfer-try": str(tmp_path / "try")},  # noqa: S108 - the README's
    )

    def stored(reader: Reader, line: re.Match[str]) -> None:
        reader.said[line["at"]] = running.enter_context(storage(reader, line["command"]))

    reader.instead = {
        **{line: nothing for line in NOT_RUN if line.startswith("scripts/")},
        r"(?P<command>rclone serve .* --addr (?P<at>\S+) .*) &": stored,
        **starts(running),
    }
    reader.follow(README)
    copied = tmp_path / "try" / "bucket"
    for path, folder in (("how-to", "2026"), ("", "docs"), ("reference", "reference")):
        wanted = {
            str(file.relative_to(DOCS / path)): file.read_bytes()
            for file in (DOCS / path).rglob("*.md")
        }
        found = {
            str(file.relative_to(copied / folder)): file.read_bytes()
            for file in (copied / folder).rglob("*")
            if file.is_file()
        }
        assert found == wanted, folder


def hashes() -> dict[str, str]:
    return {path: servers.digest(content) for path, content in FILES.items()}


def test_the_tutorial(
    reader: Reader, running: ExitStack, tmp_path: Path, s3: Storage, there: str
) -> None:
    (tmp_path / "site.json").write_text('{"allow": {"networks": ["127.0.0.0/8"]}}')
    reader.instead = {**reader.instead, **starts(running, tmp_path / "site.json")}
    reader.follow(DOCS / "tutorial.md")
    assert s3.hashes(f"{there}/2026") == hashes()
    assert s3.hashes(f"{there}/chosen") == {"a.h5": hashes()["a.h5"]}
    secrets = reader.home / ".secrets"
    assert secrets.stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in secrets.iterdir())


def test_the_command(
    reader: Reader, running: ExitStack, tmp_path: Path, s3: Storage, there: str
) -> None:
    knows_both(reader)
    (tmp_path / "site.json").write_text('{"allow": {"networks": ["127.0.0.0/8"]}}')
    reader.said |= {
        "access-key-of-alice": reader.secrets["key-id"],
        "secret-key-of-alice": reader.secrets["secret-key"],
        "bucket-of-alice": there,
    }
    # One service stands for both that are named.
    both = dict.fromkeys(
        ("https://one.example.org", "https://two.example.org"), "$EFSS_TRANSFER_URL"
    )
    reader.said |= both
    reader.instead = {**reader.instead, **starts(running, tmp_path / "site.json")}
    reader.follow(HOW_TO / "command.md", frozenset({"--shards"}))
    assert s3.hashes(f"{there}/2026") == hashes()
    assert s3.hashes(f"{there}/raw") == hashes()
    lines = (reader.home / "events.jsonl").read_text("utf-8").splitlines()
    assert json.loads(lines[-1])["state"] == "succeeded"


def test_a_site_file(reader: Reader) -> None:
    reader.follow(HOW_TO / "site-file.md")


def verified(reader: Reader, line: re.Match[str]) -> None:
    """Verify the unit that the line names, and its socket."""
    unit = reader.place(line[1])
    copied = reader.home.parent / unit.name
    # It looks whether the program is there.
    program = "/opt/efss-transfer/bin/functions-framework"
    copied.write_text(unit.read_text("utf-8").replace(program, "/bin/true"))
    socket = copied.with_suffix(".socket")
    socket.write_text(unit.with_suffix(".socket").read_text("utf-8"))
    done = subprocess.run(
        [tool("systemd-analyze"), "verify", "--man=no", copied, socket],
        capture_output=True,
        text=True,
        check=False,
    )
    # Of what both need, some is missing where there is no systemd.
    assert not [line for line in done.stderr.splitlines() if "efss-transfer" in line]


def test_a_site_in_ten_minutes(
    reader: Reader, running: ExitStack, tmp_path: Path, s3: Storage, there: str
) -> None:
    etc = reader.home / "etc"
    for folder in ("systemd/system", "nginx/conf.d"):
        (etc / folder).mkdir(parents=True)
    unix = tmp_path / "http"
    reader.said["/run/efss-transfer.sock"] = str(unix)

    def enabled(_reader: Reader, _line: re.Match[str]) -> None:
        text = (etc / "efss-transfer/site.json").read_text("utf-8")
        # systemd would put copies there.
        loaded, kept = "/run/credentials/efss-transfer.service", etc / "efss-transfer/credentials"
        assert loaded in text
        site = json.loads(text.replace(loaded, str(kept)))
        (tmp_path / "run").mkdir()
        running.enter_context(service_process.function(tmp_path / "run", unix=unix, site=site))

    def tested(reader: Reader, _line: re.Match[str]) -> None:
        names = ("fullchain.pem", "privkey.pem")
        tls = {f"/etc/ssl/efss-transfer/{it}": f"{etc}/ssl/efss-transfer/{it}" for it in names}
        installed = etc / "nginx/conf.d/efss-transfer.conf"
        # It does the same `nginx -t` before it starts one.
        front = running.enter_context(gateway(tmp_path / "n", unix, tls, installed))
        reader.environment["HTTPS_PROXY"] = running.enter_context(leading({NAME: front.port}))

    reader.instead = {
        **reader.instead,
        r"systemd-analyze verify (\S+)": verified,
        r"systemctl enable --now .*": enabled,
        r"nginx -t": tested,
    }
    reader.follow(HOW_TO / "ten-minutes.md")
    assert s3.hashes(f"{there}/2026") == hashes()
    own = [
        it
        for folder in ("tokens", "credentials")
        for it in (etc / "efss-transfer" / folder).iterdir()
    ]
    assert len(own) == 4
    assert all(file.stat().st_mode & 0o077 == 0 for file in own)
    service_process.wait_clean(tmp_path / "run", 15)


def test_behind_nginx(
    reader: Reader, running: ExitStack, tmp_path: Path, s3: Storage, there: str
) -> None:
    knows_both(reader)
    (reader.home / "etc" / "systemd" / "system").mkdir(parents=True)
    (reader.home / "etc" / "nginx" / "conf.d").mkdir(parents=True)
    unix = tmp_path / "http"
    reader.said["/run/efss-transfer.sock"] = str(unix)
    example = "0" * 64

    def enabled(reader: Reader, _line: re.Match[str]) -> None:
        site = json.loads((reader.home / "etc/efss-transfer/site.json").read_text("utf-8"))
        (tmp_path / "run").mkdir()
        running.enter_context(service_process.function(tmp_path / "run", unix=unix, site=site))

    def tested(reader: Reader, _line: re.Match[str]) -> None:
        installed = reader.home / "etc/nginx/conf.d/efss-transfer.conf"
        assert installed.read_bytes() == FILE.read_bytes()
        # It does the same `nginx -t` before it starts one.
        front = running.enter_context(gateway(tmp_path / "n", unix))
        reader.environment |= {
            "HTTPS_PROXY": running.enter_context(leading({NAME: front.port})),
            "CURL_CA_BUNDLE": str(front.authority),
        }

    def hashed(reader: Reader, _line: re.Match[str]) -> None:
        reader.said[example] = servers.digest(
            (reader.home / "portal.token").read_text("ascii").strip().encode()
        )
        told = reader.run("tr -d '\\n' <portal.token | sha256sum")
        assert told.split()[0] == reader.said[example]

    reader.instead = {
        **reader.instead,
        r"systemd-analyze verify (\S+)": verified,
        r"systemctl enable --now .*": enabled,
        r"nginx -t": tested,
        r"tr -d '\\n' <portal.token \| sha256sum": hashed,
    }
    reader.follow(HOW_TO / "gateway.md")
    assert s3.hashes(f"{there}/2026") == hashes()
    assert (reader.home / "portal.token").stat().st_mode & 0o077 == 0
    service_process.wait_clean(tmp_path / "run", 15)


def test_app_passwords(reader: Reader, running: ExitStack, s3: Storage, there: str) -> None:
    reader.instead = {**reader.instead, **starts(running)}
    reader.follow(HOW_TO / "app-passwords.md")
    assert s3.hashes(f"{there}/alice/2026") == hashes()


def test_a_nightly_copy(
    reader: Reader, running: ExitStack, tmp_path: Path, cloud: Faulty, s3: Storage, there: str
) -> None:
    knows_both(reader)
    (reader.home / ".secrets" / "token").write_text("a-token\n")
    (tmp_path / "run").mkdir()
    function = running.enter_context(service_process.function(tmp_path / "run"))
    reader.said["https://transfer.example.org"] = function.url
    reader.follow(HOW_TO / "nightly.md")
    assert s3.hashes(f"{there}/nightly") == hashes()
    # And that there is mail when something is wrong.
    cloud.fail("PROPFIND", "*", faulty_webdav.status(403))
    told = reader.run("~/bin/nightly-copy", code=7)
    assert "The nightly copy ended with 7:" in told
    assert "permission_denied" in told
    function.wait_clean()


def test_a_migration(
    reader: Reader, running: ExitStack, tmp_path: Path, cloud: Faulty, s3: Storage, there: str
) -> None:
    nextcloud = cloud.nextcloud
    files = {f"{part}/{n}.h5": os.urandom(1000) for part in ("first", "next") for n in range(20)}
    wanted = {**hashes(), **nextcloud.fill("Measurements", files)}

    def kept(parameters: dict[str, str]) -> dict[str, object]:
        """With the secrets in files, as a site file wants it."""
        made: dict[str, object] = dict(parameters)
        for name in parameters.keys() & {"pass", "access_key_id", "secret_access_key"}:
            (tmp_path / name).write_text(parameters[name])
            made[name] = {"file": str(tmp_path / name)}
        return made

    site = {
        **LOOPBACK,
        "storages": {
            "nextcloud": {"type": "webdav", "parameters": kept(nextcloud.parameters)},
            "archive": {"type": "s3", "parameters": kept(s3.parameters), "root": there},
        },
    }
    (tmp_path / "run").mkdir()
    function = running.enter_context(service_process.function(tmp_path / "run", site=site))
    reader.said["https://transfer.example.org"] = function.url

    def locked(_reader: Reader, _line: re.Match[str]) -> None:
        # Since the last copy there are two more, and one of them cannot be read.
        more = {"next/locked.h5": b"locked", "next/new.h5": b"new"}
        wanted.update(nextcloud.fill("Measurements", more))
        cloud.fail(
            "GET",
            f"{faulty_webdav.NEXTCLOUD}/Measurements/next/locked.h5",
            faulty_webdav.status(403),
        )

    def mended(reader: Reader, _line: re.Match[str]) -> None:
        assert (reader.home / "failed.txt").read_text() == "next/locked.h5\n"
        arrived = {path: it for path, it in wanted.items() if path != "next/locked.h5"}
        assert s3.hashes(f"{there}/migration") == arrived
        cloud.heal()

    reader.before = {
        r"mkdir -p results": locked,
        r"efss-transfer copy --files-from failed.txt .*": mended,
    }
    # It comes with a release of the command that has it.
    options = {name for option in run_command.params for name in option.opts}
    reader.follow(HOW_TO / "migration.md", frozenset(options & {"--shards"}))
    assert s3.hashes(f"{there}/migration") == wanted
    function.wait_clean()
