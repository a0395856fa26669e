"""What deploy/Dockerfile says, done without an engine: its steps, and then its command, in
mounts of its own, with a root that cannot be written to, as a user without rights.

What it cannot show: that an engine builds it, and the base image. Python is this machine's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from support import dockerfile
from support.contract import complaints
from support.held_port import held_port
from support.service_process import LOOPBACK, Function
from support.storages import ROOT, Storage

FILE = ROOT / "deploy" / "Dockerfile"
BUILD, IMAGE = dockerfile.stages(FILE)
MIB = 1 << 20
# /opt is the folder that is given, beside what was there; /opt/python is this Python, because
# where it is another user may not look.
MOUNT = """
set -e
for one in /opt/*; do
    [ -d "$one" ] || continue
    mkdir -p "$1$one"
    mount --rbind "$one" "$1$one"
done
mkdir -p "$1/opt/python"
mount --rbind "$2" "$1/opt/python"
mount --rbind "$1/opt" /opt
if [ "$3" = run ]; then
    mount -t tmpfs -o size=64m,mode=1777,nosuid,nodev tmpfs /tmp
    mount -o remount,bind,ro /opt
    mount -o remount,bind,ro /
    cd /opt/app
fi
shift 3
exec "$@"
"""


class Image:
    """The folder that the steps fill, and how to run something in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source = root / "src"
        self.python = f"/opt/python/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
        self.variables = dockerfile.variables(IMAGE)

    def inside(self, way: str, words: list[str]) -> list[str]:
        """A command in those mounts: to build as root, or to `run` as the image's user."""
        user, _, group = dict(IMAGE)["USER"].partition(":")
        nobody = ("--reuid", user, "--regid", group, "--clear-groups")
        bare = ("--no-new-privs", "--inh-caps=-all", "--bounding-set=-all")
        return [
            *("unshare", "--mount", "/bin/sh", "-c", MOUNT, "sh"),
            *(str(self.root), sys.base_prefix, way),
            *(("setpriv", *nobody, *bare) if way == "run" else ()),
            *(self.python if word == "python" else word for word in words),
        ]

    def run(self, words: list[str], port: int) -> subprocess.Popen[bytes]:
        """Start a command of the image with the image's environment and what is said at a start."""
        site = {"EFSS_TRANSFER_SITE": "/opt/app/site.json", "EFSS_TRANSFER_RETRY_SECONDS": "0.2"}
        # A Python that was built for where it is finds its own library only so.
        path = {
            "LD_LIBRARY_PATH": "/opt/python/lib",
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "PORT": str(port),
        }
        words = [word.replace("/app/", "/opt/app/") for word in words]
        return subprocess.Popen(
            self.inside("run", words),
            env={**self.variables, **site, **path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The steps of the first stage, and what the second copies of it."""
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"this machine allows no mounts of one's own: {tried.stderr}")
    it = Image(tmp_path_factory.mktemp("im"))
    it.source.mkdir()
    (it.root / "opt").mkdir()
    it.root.chmod(0o755)
    for name, argument in BUILD:
        if name == "COPY":
            *sources, target = argument.split()
            for source in sources:
                _copy(ROOT / source, it.source / target, target.endswith("/"))
        elif name == "RUN":
            words = it.inside("build", dockerfile.command(argument))
            done = subprocess.run(words, cwd=it.source, capture_output=True, text=True)
            assert done.returncode == 0, (argument, done.stdout, done.stderr)
        else:
            assert name in ("FROM", "WORKDIR")
    (it.root / "opt/app").mkdir()
    shutil.copy(ROOT / "functions/main.py", it.root / "opt/app/main.py")
    (it.root / "opt/app/site.json").write_text(json.dumps(LOOPBACK))
    return it


def _copy(source: Path, target: Path, into: bool) -> None:
    """As COPY does: of a folder its content, and of a file that file."""
    if source.is_dir():
        leave_out = shutil.ignore_patterns("__pycache__", "*.py[co]")
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=leave_out)
    else:
        target = target / source.name if into or target.is_dir() else target
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def ended(image: Image, words: list[str], port: int) -> tuple[int, str]:
    """Run a command of the image to its end: its status, and what it said."""
    with image.run(words, port) as process:
        said = process.communicate(timeout=60)[0].decode()
        return process.returncode, said


@contextmanager
def started(image: Image) -> Iterator[tuple[Function, int]]:
    """The image's command, served; and its port."""
    command = dockerfile.command(dict(IMAGE)["CMD"])
    with held_port() as port, image.run(command, port) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            until = time.monotonic() + 60
            while True:
                try:
                    requests.get(f"{url}/healthz", timeout=30)
                    break
                except requests.ConnectionError:
                    if process.poll() is not None:
                        assert process.stdout is not None
                        raise AssertionError(process.stdout.read().decode()) from None
                    assert time.monotonic() < until
                    time.sleep(0.1)
            yield Function(url, process, Path(f"/proc/{process.pid}/root/tmp"), Path()), port
        finally:
            process.terminate()
            try:
                process.wait(40)
            finally:
                process.kill()


@pytest.mark.slow
def test_it_copies_on_a_read_only_root_as_nobody(
    image: Image, webdav: Storage, s3: Storage
) -> None:
    files = webdav.fill("image", {"a.txt": b"a", 'deep/ü "b".bin': bytes(3 * MIB)})
    with started(image) as (function, port):
        process = psutil.Process(function.process.pid)
        assert process.uids().effective == int(dict(IMAGE)["USER"].partition(":")[0])
        told = function.get("/healthz").json()
        assert told["status"] == "ok"
        check = dockerfile.command(dict(IMAGE)["HEALTHCHECK"])
        assert ended(image, check, port) == (0, "")
        said = function.copy(webdav.endpoint("image"), s3.endpoint("image"))
        assert said.status_code == 200, said.text
        assert complaints("result", said.json()) == []
        assert (
            said.json()["rclone"]["version"]
            == json.loads((ROOT / "layer/rclone.json").read_text("utf-8"))["version"]
        )
        assert s3.hashes(f"{s3.base}/image") == files
        until = time.monotonic() + 10
        while left := [it.name for it in function.runtime_dir.glob("efss-*")]:
            assert time.monotonic() < until, left
            time.sleep(0.05)
        _, said_of_it = ended(image, ["python", "-c", "open('/var/tmp/x', 'w')"], port)
        assert "Read-only file system" in said_of_it
        function.process.terminate()
        assert function.process.wait(40) == 0
    assert ended(image, check, port)[0] != 0, "it is ill when nothing answers"


@pytest.mark.slow
def test_it_has_its_bytecode_and_no_more_than_it_needs(image: Image) -> None:
    folder = image.root / "opt" / "efss-transfer"
    [packages] = folder.glob("lib/python3*/site-packages")
    sources = list((packages / "efss_transfer").rglob("*.py"))
    assert sources
    for source in sources:
        [compiled] = (source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc")
        # PEP 552: a hash, that is not looked at.
        assert compiled.read_bytes()[4:8] == b"\1\0\0\0"
    assert not list(packages.glob("pip")), "nothing installs more"
    assert not list(packages.glob("pytest*"))
    size = sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"the image's own part: {size / 1e6:.0f} MB in {os.fspath(folder)}")
    assert size < 200e6
