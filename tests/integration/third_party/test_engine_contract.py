"""Third-party copies pass the contract of every engine, but for what they refuse."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from efss_transfer.config.settings import Settings
from efss_transfer.engines.base import Engine
from efss_transfer.engines.tpc.engine import TpcEngine
from efss_transfer.model.errors import UnsupportedByEngine
from efss_transfer.model.request import Endpoint, Options, TransferRequest
from efss_transfer.model.verification import VerifyMode
from engine_contract import EngineContract, Filled, Target, context, result
from support import faulty_webdav, third_party_dav
from support.faulty_webdav import Faulty, Request

pytestmark = pytest.mark.slow


def endpoint(dav: Faulty, path: str) -> Endpoint:
    named = dav.storage.endpoint(path)
    return Endpoint(named["type"], named["parameters"], named["path"])


@pytest.fixture
def destination() -> Iterator[Faulty]:
    with faulty_webdav.serving() as dav:
        dav.copier = third_party_dav.pulls(dav)
        dav.digest_of = third_party_dav.adler32
        yield dav


class TestTpc(EngineContract):
    @pytest.fixture
    def engine(self, tmp_path: Path) -> Engine:
        (tmp_path / "run").mkdir()
        return TpcEngine(Settings.read({"EFSS_TRANSFER_RUNTIME_DIR": str(tmp_path / "run")}))

    @pytest.fixture
    def origin(self) -> Iterator[Faulty]:
        with faulty_webdav.serving() as dav:
            dav.digest_of = third_party_dav.adler32
            yield dav

    @pytest.fixture
    def filled(self, origin: Faulty) -> Filled:
        return endpoint(origin, "data"), origin.fill("data", {"a": b"a", "b/ü.bin": bytes(9999)})

    @pytest.fixture
    def target(self, destination: Faulty) -> Target:
        destination.folders.add("/to")
        arrived: Callable[[], dict[str, str]] = lambda: destination.hashes("to")  # noqa: E731
        return endpoint(destination, "to"), arrived

    @pytest.fixture
    def missing(self, origin: Faulty) -> Endpoint:
        return endpoint(origin, "not/there")

    @pytest.fixture
    def endless(self, origin: Faulty, destination: Faulty) -> Endpoint:
        def copy(_: Request) -> Iterator[bytes]:
            moved = 0
            while not destination.ended.wait(0.1):
                moved += 1
                yield third_party_dav.marker(moved)

        destination.copier = copy
        origin.fill("endless", {"file": bytes(1_000_000)})
        return endpoint(origin, "endless")

    def test_verification_says_what_was_compared(
        self, engine: Engine, filled: Filled, target: Target
    ) -> None:
        """By checksums: the bytes are never here, so they cannot be compared by download."""
        refused = TransferRequest(filled[0], target[0], options=Options(verify=VerifyMode.DOWNLOAD))
        with pytest.raises(UnsupportedByEngine, match=r"options\.verify"):
            next(engine.run(refused, context()))
        for _ in range(2):
            options = Options(verify=VerifyMode.CHECKSUM)
            request = TransferRequest(filled[0], target[0], options=options)
            verification = result(list(engine.run(request, context()))).verification
            assert verification is not None
            assert (verification.mode, verification.hash) == (VerifyMode.CHECKSUM, "adler32")
            assert verification.checked == len(filled[1])
            assert (verification.differing, verification.missing) == (0, 0)
            time.sleep(1)  # the upload must not look older than the source
