"""The storages and the function that the tests use; each is real, and on loopback."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from efss_transfer.engines.rclone.process.binary import find_binary
from support import service_process
from support import storages as servers
from support.service_process import Function
from support.storages import Storage

# The same examples in each run, because a failure must be of the change that it is found with;
# and no bound on an example's time, because the machine has other work as well.
settings.register_profile("ours", deadline=None, derandomize=True)
settings.load_profile("ours")

_MADE: Final = pytest.StashKey[str]()
# Slow files that take longest are begun first, so that no worker has one left when all others end.
_LONGEST: Final = (
    "security/test_fuzz.py",
    "webdav/test_gateway_states.py",
    "failures/test_outages.py",
    "docs/test_pages.py",
    "runtimes/test_lambda_layer.py",
    "failures/test_endless_listings.py",
    "failures/test_attempts.py",
)
# Folders in which each case of a test copies files by a service and its rclone.
_COPYING: Final = ("integration/copy/", "integration/failures/", "integration/webdav/")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Temporary folders have short paths, because unix sockets stand in them: pytest's own name
    the user and the number of the run, and grow. They go where all tests passed.
    """
    if not service_process.GATEWAY:
        # For what runs in this process or is started without `service_process.function`.
        os.environ["EFSS_TRANSFER_WEBDAV_GATEWAY"] = "0"
    if not config.option.basetemp and not hasattr(config, "workerinput"):
        config.option.basetemp = tempfile.mkdtemp(prefix="et", dir="/tmp")
        config.stash[_MADE] = config.option.basetemp


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave most cases of a test to the slow tests where `scripts/test` runs all tests: the first
    and the last differ most. Two cores would need a quarter of an hour for all.
    """
    if os.environ.get("TESTED_CASES") != "two":
        return
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        is_fast = item.get_closest_marker("slow") is None
        if is_fast and any(folder in item.nodeid for folder in _COPYING):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for several in cases.values():
        for item in several[1:-1]:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: not any(name in item.nodeid for name in _LONGEST))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if _MADE in session.config.stash and exitstatus == pytest.ExitCode.OK:
        shutil.rmtree(session.config.stash[_MADE], ignore_errors=True)


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path whatever the test's name is, because a unix socket's is one."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def rclone() -> Path:
    """The rclone that the function uses, too."""
    return find_binary(None)


@pytest.fixture(scope="session")
def shared_function(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    runtime = tmp_path_factory.mktemp("runtime")
    with service_process.function(runtime) as running:
        yield running


@pytest.fixture
def function(shared_function: Function) -> Iterator[Function]:
    """The function; whatever a test did, nothing of it may be left."""
    yield shared_function
    shared_function.wait_clean()


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    """The function without its WebDAV gateway."""
    runtime = tmp_path_factory.mktemp("direct")
    with service_process.function(runtime, WEBDAV_GATEWAY="0") as running:
        yield running
        running.wait_clean()


@pytest.fixture
def folder() -> str:
    """The name of a folder that no other test has."""
    return uuid.uuid4().hex


@pytest.fixture(scope="session")
def storages(
    tmp_path_factory: pytest.TempPathFactory, rclone: Path
) -> Iterator[dict[str, Storage]]:
    """One of each kind."""

    def folder(name: str) -> Path:
        return tmp_path_factory.mktemp(name)

    with ExitStack() as running:
        yield {
            "wsgidav": running.enter_context(servers.wsgidav(folder("wsgidav"))),
            "rclone": running.enter_context(servers.rclone_webdav(folder("rclone"), rclone)),
            "s3": running.enter_context(servers.s3()),
            "sftp": running.enter_context(servers.sftp(folder("sftp"))),
            "ftp": running.enter_context(servers.ftp(folder("ftp"))),
            "gcs": running.enter_context(servers.gcs()),
        }


@pytest.fixture
def webdav(storages: dict[str, Storage]) -> Storage:
    return storages["wsgidav"]


@pytest.fixture
def s3(storages: dict[str, Storage]) -> Storage:
    return storages["s3"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--screenshots", metavar="FOLDER", help="where the tests of the page leave their pictures"
    )
