"""Two XRootD servers, and a service that lets them copy between themselves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support import service_process, xrootd
from support.certificates import certificate
from support.service_process import Function
from support.xrootd import Grid

SITE = {
    "engines": {"tpc": {}},
    "allow": {"hosts": ["localhost"], "networks": ["127.0.0.0/8"]},
}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    folder = tmp_path_factory.mktemp("certificate")
    key, signed = folder / "host.key", folder / "host.pem"
    certificate(key, signed)
    with xrootd.serving(key, signed) as source, xrootd.serving(key, signed) as destination:
        yield Grid(source, destination, signed)


@pytest.fixture(scope="module")
def third_party(grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Function]:
    """The function, at a site that has switched on third-party copies."""
    runtime = tmp_path_factory.mktemp("runtime")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(grid.signed))
        with service_process.function(runtime, site=SITE) as running:
            yield running
            running.wait_clean()
