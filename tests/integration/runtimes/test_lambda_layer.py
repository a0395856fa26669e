"""What scripts/build-layer builds for AWS Lambda: the same bytes each time, and it runs there:
unpacked at /opt, as an unprivileged user, with nothing to write to but one folder.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from packaging.utils import canonicalize_name

import sbom
from benchmark import cold_start
from build_layer import EXCLUDED, MAX_BYTES
from support import cloudformation, http_servers, service_process
from support import storages as servers
from support.contract import complaints
from support.lambda_runtime import Lambda, Package, deployed, mounts_allowed
from support.storages import ROOT, Storage

pytestmark = pytest.mark.slow

MIB = 1 << 20
PIN = json.loads((ROOT / "layer" / "rclone.json").read_text())["binaries"]
BUILT_FROM = ("functions", "layer", "schema", "scripts", "pyproject.toml", "LICENSE")
# ELF's own numbers for the architectures.
X86_64, AARCH64 = 62, 183


def build(output: Path, *options: str, root: Path = ROOT, **environment: str) -> Any:
    """Build by the script of that tree; what it tells."""
    done = subprocess.run(
        [sys.executable, root / "scripts" / "build_layer.py", "--json", "-o", output, *options],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def copy_of_the_tree(target: Path) -> Path:
    for name in BUILT_FROM:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)
    return target


@pytest.fixture(scope="module")
def short() -> Iterator[Path]:
    """A folder with a short path, into which everybody may look."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def built(short: Path) -> Any:
    return build(short / "built" / "layer.zip")


@pytest.fixture(scope="module")
def package(built: Any, short: Path) -> Package:
    """Unpacked as Lambda does it, beside the runtime client."""
    it = Package(*(short / name for name in ("layer", "task", "runtime", "lang")))
    for folder in (it.layer, it.task, it.runtime, it.lang):
        folder.mkdir()
    for name, folder in (("layer", it.layer), ("function", it.task)):
        with zipfile.ZipFile(built[name]["file"]) as archive:
            archive.extractall(folder)
            for entry in archive.infolist():
                (folder / entry.filename).chmod(entry.external_attr >> 16 & 0o777)
    for name in ("awslambdaric", "simplejson", "snapshot-restore-py"):
        for file in importlib.metadata.files(name) or ():
            if file.suffix in {".py", ".so"} and ".." not in file.parts:
                target = it.runtime / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), target)
    return it


@contextmanager
def running(package: Package, folder: Path) -> Iterator[Lambda]:
    """The function, from what was built."""
    folder.mkdir()
    folder.chmod(0o777)
    site = folder.parent / f"{folder.name}.site.json"
    with deployed(folder, package=package) as it:
        assert site.is_file()
        yield it


@pytest.fixture(scope="module")
def function(package: Package, short: Path) -> Iterator[Lambda]:
    with running(package, short / "run") as it:
        yield it


# --- What is built ----------------------------------------------------------------------------


def test_another_build_elsewhere_and_later_has_the_same_bytes(built: Any, short: Path) -> None:
    tree = copy_of_the_tree(short / "a-tree-with-a-longer-name")
    other = build(
        short / "elsewhere" / "l.zip",
        root=tree,
        TZ="Asia/Tokyo",
        PYTHONHASHSEED="7",
        PYTHONDONTWRITEBYTECODE="1",
        LC_ALL="C",
    )
    for name in ("layer", "function"):
        first, second = (Path(it[name]["file"]).read_bytes() for it in (built, other))
        assert hashlib.sha256(first).hexdigest() == built[name]["sha256"]
        assert built[name]["sha256"] == other[name]["sha256"]
        assert first == second


def test_it_has_what_the_handler_needs_and_fits(built: Any) -> None:
    assert sum(built[name]["unpacked_bytes"] for name in ("layer", "function")) < MAX_BYTES
    layer = zipfile.ZipFile(built["layer"]["file"])
    names = layer.namelist()
    assert names == sorted(names)
    assert {it.date_time for it in layer.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    modes = {it.filename: it.external_attr >> 16 for it in layer.infolist()}
    assert modes.pop("bin/rclone") == 0o100755
    assert set(modes.values()) == {0o100644}
    program = layer.read("bin/rclone")
    machine = {"x86_64": "x86_64", "arm64": "aarch64"}[built["architecture"]]
    assert hashlib.sha256(program).hexdigest() == PIN[machine]["sha256"]
    assert {name.split("/")[0] for name in names} == {"bin", "python"}
    described = (re.fullmatch(r"python/(.+)-[^-]+\.dist-info/METADATA", name) for name in names)
    metadata = {canonicalize_name(it[1]) for it in described if it}
    assert metadata == sbom.runtime_packages(EXCLUDED)
    assert not {"flask", "boto3", "botocore", "click", "gunicorn", "pytest"} & metadata


def test_its_bytecode_holds_whatever_the_times_of_the_files(built: Any) -> None:
    for name in ("layer", "function"):
        archive = zipfile.ZipFile(built[name]["file"])
        compiled = [it for it in archive.namelist() if it.endswith(".pyc")]
        sources = [it for it in archive.namelist() if it.endswith(".py")]
        assert len(compiled) == len(sources) > 40
        for file in compiled:
            # PEP 552: by a hash of the source, which is not checked.
            assert struct.unpack("<I", archive.read(file)[4:8]) == (0b01,), file


def test_for_the_other_architecture_all_programs_are_of_it(short: Path) -> None:
    for arch, machine, number in (("arm64", "aarch64", AARCH64), ("x86_64", "x86_64", X86_64)):
        told = build(short / arch / "layer.zip", "--arch", arch)
        archive = zipfile.ZipFile(told["layer"]["file"])
        program = archive.read("bin/rclone")
        assert hashlib.sha256(program).hexdigest() == PIN[machine]["sha256"]
        heads = [archive.read(it)[:20] for it in archive.namelist() if it.endswith(".so")]
        assert len(heads) > 3
        for head in [program[:20], *heads]:
            assert head[:4] == b"\x7fELF"
            assert struct.unpack("<H", head[18:20]) == (number,)


def test_another_rclone_than_the_one_that_is_pinned_is_not_built_in(short: Path) -> None:
    tree = copy_of_the_tree(short / "another-pin")
    pin = json.loads((tree / "layer" / "rclone.json").read_text())
    for binary in pin["binaries"].values():
        binary["sha256"] = "0" * 64
    (tree / "layer" / "rclone.json").write_text(json.dumps(pin))
    output = short / "refused" / "layer.zip"
    script = tree / "scripts" / "build_layer.py"
    done = subprocess.run([sys.executable, script, "-o", output], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"does not match layer/rclone.json" in done.stderr
    assert not output.exists()


# --- It runs -------------------------------------------------------------------------------------


def test_the_sandbox_is_what_it_is_said_to_be(function: Lambda) -> None:
    """What the tests below show, they show of this."""
    if not mounts_allowed(function.runtime_dir):
        pytest.skip("this machine allows no mounts of one's own: it runs in a folder instead")
    assert function.waiting.wait(60)
    process = psutil.Process(function.pid)
    status = Path(f"/proc/{function.pid}/status").read_text()
    if os.geteuid() == 0:
        assert process.uids().effective == 65534
        assert "CapEff:\t0000000000000000" in status
    root = Path(f"/proc/{function.pid}/root")
    assert (root / "opt/bin/rclone").is_file()
    options = {
        line.split()[1]: line.split()[3].split(",")
        for line in Path(f"/proc/{function.pid}/mounts").read_text().splitlines()
    }
    assert "ro" in options["/"]
    assert "ro" in options["/opt"]
    assert "HOME" not in process.environ()
    assert process.children(recursive=True) == []
    assert list(function.runtime_dir.iterdir()) == []
    where = [it.path for it in process.memory_maps() if it.path.endswith(".so")]
    assert any(it.startswith("/opt/python/") for it in where)
    assert not any(".venv" in it for it in where)


def url_event(body: Any) -> dict[str, Any]:
    """Of a function URL with AWS_IAM."""
    who = {"iam": {"accessKey": "ASIA", "userArn": "arn:aws:iam::123456789012:user/alice"}}
    return {
        "version": "2.0",
        "rawPath": "/",
        "headers": {"content-type": "application/json", "authorization": "AWS4-HMAC-SHA256 …"},
        "requestContext": {"http": {"method": "POST"}, "authorizer": who},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


def test_a_copy_signed_for_its_url(function: Lambda, webdav: Storage, s3: Storage) -> None:
    files = webdav.fill("layer", {"a.txt": b"a", "deep/b.bin": bytes(12 * MIB)})
    body = {"source": webdav.endpoint("layer"), "destination": s3.endpoint("layer")}
    answer = function.invoke(url_event(body))
    assert answer["statusCode"] == 200, answer
    assert complaints("result", json.loads(answer["body"])) == []
    assert s3.hashes(f"{s3.base}/layer") == files
    service_process.wait_clean(function.runtime_dir, 15)
    assert psutil.Process(function.pid).children(recursive=True) == []


def test_what_has_no_signature_is_refused(function: Lambda, webdav: Storage, s3: Storage) -> None:
    event = url_event({"source": webdav.endpoint("x"), "destination": s3.endpoint("x")})
    del event["requestContext"]["authorizer"]
    assert function.invoke(event)["statusCode"] == 403


def test_a_problem(function: Lambda, webdav: Storage, s3: Storage) -> None:
    told = function.invoke({"source": webdav.endpoint("nowhere"), "destination": s3.endpoint("x")})
    assert complaints("problem", told) == []
    assert (told["status"], told["code"]) == (422, "source_not_found")


def test_what_is_left_of_the_invocation_is_the_deadline(function: Lambda, s3: Storage) -> None:
    with http_servers.slow_source(100 * MIB, MIB) as slow:
        body = {"source": slow.endpoint("data"), "destination": s3.endpoint("layer-slow")}
        function.events.put((json.dumps(body).encode(), time.time() + 10))
        path, answer = function.answers.get(timeout=10)
    assert path.endswith("/response")
    told = json.loads(answer)
    assert (told["status"], told["code"]) == (504, "incomplete")
    service_process.wait_clean(function.runtime_dir, 15)


def test_the_template_counts_in_this_log_what_it_should(
    function: Lambda, webdav: Storage, s3: Storage
) -> None:
    """The patterns of its metric filters, on the lines of the transfers above and of these."""
    before = len(function.log.read_bytes())
    webdav.fill("counted", {"a.txt": b"a"})
    copied = {"source": webdav.endpoint("counted"), "destination": s3.endpoint("counted")}
    function.invoke(copied)
    function.invoke({**copied, "source": webdav.endpoint("nowhere")})
    function.invoke({})
    with http_servers.slow_source(100 * MIB, MIB) as slow:
        function.invoke({**copied, "source": slow.endpoint("data")}, seconds=6)
    lines = [
        json.loads(line)
        for line in function.log.read_bytes()[before:].splitlines()
        if line.startswith(b"{")
    ]
    resources = cloudformation.read()["Resources"]
    counts = {
        name: sum(fits(it["Properties"]["FilterPattern"], line) for line in lines)
        for name, it in resources.items()
        if it["Type"] == "AWS::Logs::MetricFilter"
    }
    assert counts == {"FailedTransfers": 1, "IncompleteTransfers": 1, "ServiceErrors": 0}
    services = resources["ServiceErrors"]["Properties"]["FilterPattern"]
    assert fits(services, {"event": "defect", "level": "ERROR"})
    assert fits(services, {"event": "refused", "status": 503, "level": "INFO"})
    assert not fits(services, {"event": "refused", "status": 422, "level": "INFO"})
    assert fits(services, {"event": "transfer.ended", "code": "engine_failed"})


def fits(pattern: str, line: dict[str, Any]) -> bool:
    """Whether a pattern of CloudWatch Logs for JSON takes a line: of its grammar, what the
    template uses. A member that a line lacks fits nothing.
    """

    def compared(found: re.Match[str]) -> str:
        name, sign, wanted = found.groups()
        value = line.get(name)
        if sign == "=":
            return str(value == json.loads(wanted))
        return str(isinstance(value, int) and value >= int(wanted))

    told = re.sub(r'\$\.(\w+) (=|>=) ("[^"]*"|\d+)', compared, pattern.strip().strip("{}"))
    told = told.replace("&&", " and ").replace("||", " or ")
    assert re.fullmatch(r"[\s()]*(?:(?:True|False|and|or)[\s()]*)+", told), told
    return bool(eval(told))  # noqa: S307 - nothing but what the line above allows


# --- A sandbox that is frozen and thawed -------------------------------------------------------


def family(it: Lambda) -> list[psutil.Process]:
    process = psutil.Process(it.pid)
    return [process, *process.children(recursive=True)]


def frozen(it: Lambda, seconds: float) -> None:
    """Stop all that there is of it for a while, as Lambda does."""
    stopped = family(it)
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    for process in stopped:
        process.send_signal(signal.SIGCONT)


def test_frozen_between_two_requests(function: Lambda, webdav: Storage, s3: Storage) -> None:
    for number in range(2):
        files = webdav.fill(f"frozen-{number}", {"a.txt": b"a"})
        body = {
            "source": webdav.endpoint(f"frozen-{number}"),
            "destination": s3.endpoint(f"frozen-{number}"),
        }
        assert function.invoke(body)["state"] == "succeeded"
        assert s3.hashes(f"{s3.base}/frozen-{number}") == files
        service_process.wait_clean(function.runtime_dir, 15)
        assert len(family(function)) == 1
        frozen(function, 3)


def test_frozen_in_the_middle_of_a_copy(function: Lambda, s3: Storage) -> None:
    with http_servers.slow_source(4 * MIB, MIB) as slow:
        body = {"source": slow.endpoint("data"), "destination": s3.endpoint("frozen-amid")}
        function.events.put((json.dumps(body).encode(), time.time() + 120))
        until = time.monotonic() + 30
        while not any(it.name() == "rclone" for it in family(function)):
            assert time.monotonic() < until
            time.sleep(0.05)
        frozen(function, 4)
        _, answer = function.answers.get(timeout=120)
    told = json.loads(answer)
    assert told.get("state") == "succeeded", told
    assert s3.hashes(f"{s3.base}/frozen-amid") == {"0.bin": servers.digest(bytes(4 * MIB))}
    service_process.wait_clean(function.runtime_dir, 15)
    assert len(family(function)) == 1


def test_a_frozen_time_that_is_over_is_told_as_incomplete(function: Lambda, s3: Storage) -> None:
    """It thaws with less time than it counted on, and still has an answer; then it works on."""
    with http_servers.slow_source(100 * MIB, MIB) as slow:
        body = {"source": slow.endpoint("data"), "destination": s3.endpoint("frozen-over")}
        function.events.put((json.dumps(body).encode(), time.time() + 8))
        until = time.monotonic() + 30
        while not any(it.name() == "rclone" for it in family(function)):
            assert time.monotonic() < until
            time.sleep(0.05)
        frozen(function, 8)
        _, answer = function.answers.get(timeout=60)
    assert json.loads(answer)["code"] == "incomplete"
    service_process.wait_clean(function.runtime_dir, 15)
    assert function.invoke({})["code"] == "invalid_request"


def test_its_bytecode_is_what_runs(package: Package, short: Path, s3: Storage) -> None:
    """A source that cannot be imported, and a time that fits nothing, change nothing."""
    task = short / "spoilt"
    shutil.copytree(package.task, task)
    for name in ("lambda_handler.py", "efss_transfer/service/application.py"):
        (task / name).write_text("raise SystemExit('the source was read')\n")
    spoilt = Package(package.layer, task, package.runtime, package.lang)
    with running(spoilt, short / "spoilt-run") as it:
        assert it.invoke({})["code"] == "invalid_request"


def test_benchmark_measures_a_cold_start() -> None:
    """Only the order of the times is certain on any machine; importing Flask or boto3 fails it."""
    cold = cold_start.measure(1)
    print(cold_start.describe(cold))
    assert 0 < cold.import_seconds < cold.answer_seconds < cold.done_seconds
    assert cold.boot_seconds > 0
