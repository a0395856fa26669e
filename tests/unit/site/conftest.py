"""Names that resolve without a name server."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from efss_transfer.egress import addresses
from efss_transfer.model import targets
from support.admission import NAMES


@pytest.fixture(autouse=True)
def resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that are known here, and 8.8.8.8 for all others."""
    real = addresses.resolve

    def resolve(host: str) -> list[targets.Address]:
        if host.endswith(".invalid"):
            return []
        if "example" not in host:
            return real(host)
        return [ip_address(text) for text in NAMES.get(host, ["8.8.8.8"])]

    monkeypatch.setattr(addresses, "resolve", resolve)
