"""The ids of jobs are those that an FTS server computes, and are the same for the same request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid5

import pytest

from efss_transfer.engines.fts.identity import JobIds, request_key
from efss_transfer.model.request import (
    Endpoint,
    FtsServer,
    ListedFile,
    Options,
    Selection,
    TransferRequest,
)
from efss_transfer.model.result import Shard

BASE = UUID("01874efb-4735-4595-bc9c-591aef8240c9")
SOURCE = Endpoint("webdav", {"url": "https://a.example.org/", "bearer_token": "x"}, "data")
GOOD = TransferRequest(SOURCE, replace(SOURCE, path="to"))


def test_id_is_the_uuid_of_the_sid_in_the_namespace_of_the_vo() -> None:
    namespace = uuid5(BASE, "dteam")
    for caller in ({"vos": ["dteam"]}, {"vos": ["x"], "vos_id": [str(namespace)]}):
        ids = JobIds(GOOD, caller)
        assert ids.job_id(3) == str(uuid5(namespace, ids.sid(3)))
        assert len({ids.job_id(number) for number in range(5)}) == 5


@pytest.mark.parametrize("caller", [{}, {"vos": []}, {"vos": "dteam"}, {"vos_id": ["no uuid"]}])
def test_server_that_names_no_vo_is_refused(caller: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"VO|badly"):
        JobIds(GOOD, caller)


@pytest.mark.parametrize(
    "changes",
    [
        {"source": replace(SOURCE, parameters={**SOURCE.parameters, "bearer_token": "renewed"})},
        {"options": Options(attempts=7, dry_run=True, detach=True)},
        {"fts": FtsServer(token="y")},
        {"id": "run-42"},
    ],
)
def test_key_is_the_same_whatever_does_not_say_what_is_copied(changes: dict[str, Any]) -> None:
    assert request_key(replace(GOOD, **changes)) == request_key(GOOD)


@pytest.mark.parametrize(
    "changes",
    [
        {"source": replace(SOURCE, path="other")},
        {"destination": SOURCE},
        {"selection": Selection(include=("*.h5",))},
        {"selection": Selection(files=(ListedFile("a"),))},
        {"selection": Selection(shard=Shard(0, 2))},
        {"selection": Selection(shard=Shard(1, 2))},
    ],
)
def test_key_is_another_for_another_copy(changes: dict[str, Any]) -> None:
    assert request_key(replace(GOOD, **changes)) != request_key(GOOD)
