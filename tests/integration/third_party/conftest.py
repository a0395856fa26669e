"""Two XRootD servers, and a service that lets them copy between themselves.

Debian's XRootD 5.5.3 breaks down (SIGSEGV) now and then, whatever is asked of it. A test that fails
while a server has broken down is run again with the server that was started anew, and in a new
folder; any other failure counts.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator

import pytest

from support import service_process, xrootd
from support.certificates import certificate
from support.service_process import SCRIPTS, Function
from support.traffic import Traffic, counting
from support.xrootd import Grid

SITE = {
    "engines": {"tpc": {}},
    "allow": {"hosts": ["localhost"], "networks": ["127.0.0.0/8"]},
}


_RUNS = 4


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test again if a server has broken down in it."""
    grid = pyfuncitem.funcargs.get("grid")
    if not isinstance(grid, Grid):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    for run in range(1, _RUNS + 1):
        before = grid.crashes
        try:
            pyfuncitem.obj(**arguments)
        except Exception:
            if run == _RUNS or not grid.settled_crashes(before):
                raise
            print(f"XRootD broke down in {pyfuncitem.name}, run {run}", file=sys.stderr)
            if "folder" in arguments:
                arguments["folder"] = uuid.uuid4().hex
        else:
            break
    return True


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    folder = tmp_path_factory.mktemp("certificate")
    key, signed = folder / "host.key", folder / "host.pem"
    certificate(key, signed)
    with xrootd.serving(key, signed) as source, xrootd.serving(key, signed) as destination:
        yield Grid(source, destination, signed)


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traffic]:
    """What the service receives from sockets."""
    with counting(tmp_path_factory.mktemp("traffic")) as counter:
        yield counter


@pytest.fixture(scope="module")
def third_party(
    grid: Grid, traffic: Traffic, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Function]:
    """The function, at a site that has switched on third-party copies."""
    runtime = tmp_path_factory.mktemp("runtime")
    command = ("env", *traffic.variables, str(SCRIPTS / "functions-framework"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(grid.signed))
        with service_process.function(runtime, command=command, site=SITE) as running:
            yield running
            running.wait_clean()
