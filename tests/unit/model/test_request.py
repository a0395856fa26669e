"""An endpoint's targets, parsed once, and limits combined."""

from __future__ import annotations

import pytest

from efss_transfer.contract.storage_types import make_endpoint
from efss_transfer.model import request
from efss_transfer.model.request import Limits
from efss_transfer.model.targets import Target, parse_target


def test_target_is_parsed_once_with_the_port_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def counted(form: str, value: str, port: int | None = None) -> Target | None:
        parsed.append(value)
        return parse_target(form, value, port)

    monkeypatch.setattr(request, "parse_target", counted)
    endpoint = make_endpoint("sftp", {"host": "Files.Example.org.", "port": 2222, "user": "a"}, "x")
    for _ in range(3):
        assert endpoint.targets == {"host": Target("files.example.org", 2222)}
        assert endpoint.invalid_targets == ()
    assert parsed == ["Files.Example.org."]


def test_invalid_target_is_named_and_has_no_target() -> None:
    endpoint = make_endpoint("webdav", {"url": "https://example.org:99999"}, "x")
    assert endpoint.targets == {}
    assert endpoint.invalid_targets == ("url",)


def test_parameter_that_leads_to_the_types_own_service_is_neither() -> None:
    account = '{"type": "service_account"}'
    endpoint = make_endpoint(
        "google cloud storage", {"service_account_credentials": account}, "bucket"
    )
    assert endpoint.targets == {}
    assert endpoint.invalid_targets == ()


def test_limits_within_others_are_the_stricter_of_each() -> None:
    combined = Limits(files=1, bytes=9, transfers=4).within(Limits(files=2, bytes=3))
    assert combined == Limits(files=1, bytes=3, transfers=4)
