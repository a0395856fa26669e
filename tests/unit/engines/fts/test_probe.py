"""The probe of an FTS server ends in time, whatever the server does."""

from __future__ import annotations

import socket
import time
from ipaddress import ip_network

from efss_transfer.config.settings import Settings
from efss_transfer.egress.rules import Egress, EgressRules
from efss_transfer.engines.base import Context, ServerEngine
from efss_transfer.engines.fts.engine import FtsEngine
from efss_transfer.model.request import FtsServer


def test_server_that_accepts_and_says_nothing_ends_the_probe_in_time() -> None:
    engine: ServerEngine = FtsEngine(Settings.read({}))
    rules = EgressRules(networks=(ip_network("127.0.0.0/8"),))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = FtsServer(f"http://127.0.0.1:{listener.getsockname()[1]}", token="canary-token")
        context = Context(time.monotonic() + 0.3, egress=Egress.of_sides({"fts": rules}, None))
        found = engine.probe(server, context)
    assert found.failure is not None
    assert found.failure.code == "storage_unreachable"
    assert "in time" in found.failure.message


def test_engine_is_usable_without_its_server() -> None:
    """/healthz is for probes of liveness: no remote server may take the service down."""
    assert FtsEngine(Settings.read({})).health().usable
