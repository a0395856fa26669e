"""The names of a source's files, from its gateway in place of rclone's log."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.rclone.log.parser import LogParser
from efss_transfer.engines.rclone.rc.gateway_names import GatewayNames
from efss_transfer.engines.rclone.rc.remotes import Remote, RemotePath
from efss_transfer.engines.rclone.rc.run_context import RunContext
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.result import Side
from efss_transfer.webdav.words import Record


class FakeRc:
    """Keeps the levels of the log that were set."""

    def __init__(self) -> None:
        self.levels: list[str] = []

    def set_log_level(self, level: str) -> None:
        self.levels.append(level)


def source(path: str = "/data/", **parameters: str) -> RemotePath:
    return RemotePath(Remote("source", "webdav", parameters), path, Side.SOURCE)


@pytest.fixture
def record() -> Record:
    return Record()


@pytest.fixture
def run(record: Record) -> RunContext:
    log = LogParser(FileOutcomes(), Redactor(frozenset()))
    parts = SimpleNamespace(rc=FakeRc(), log=log, gateways={Side.SOURCE: record})
    return cast(RunContext, parts)


def levels(run: RunContext) -> list[str]:
    return cast(list[str], cast(Any, run.rc).levels)


def test_names_below_the_folder_are_noted(run: RunContext, record: Record) -> None:
    with GatewayNames(run).noted(source()):
        assert record.on_file is not None
        for path in ("data/a", "data/sub/b", "data2/c", "other"):
            record.on_file(path)
    assert run.log.sample_names.names == ["a"]
    assert not run.log.alike_names.found
    assert record.on_file is None


def test_names_that_differ_only_in_case_are_found(run: RunContext, record: Record) -> None:
    with GatewayNames(run).noted(source("")):
        assert record.on_file is not None
        for path in ("Name.txt", "NAME.txt"):
            record.on_file(path)
    assert run.log.alike_names.found


def test_name_that_rclone_encodes_is_no_sample(run: RunContext, record: Record) -> None:
    with GatewayNames(run).noted(source()):
        assert record.on_file is not None
        for path in ("data/a\uff0fb", "data/plain"):
            record.on_file(path)
    assert run.log.sample_names.names == ["plain"]


def test_log_is_quiet_only_while_the_gateway_tells_the_names(run: RunContext) -> None:
    names = GatewayNames(run)
    with names.quiet_log():
        pass
    assert levels(run) == []
    with names.noted(source()), pytest.raises(KeyError), names.quiet_log():
        raise KeyError(levels(run).copy())
    assert levels(run) == ["INFO", "DEBUG"]


def test_log_is_needed_for_names_in_another_encoding(run: RunContext, record: Record) -> None:
    names = GatewayNames(run)
    with names.noted(source(encoding="Slash,Colon")), names.quiet_log():
        assert record.on_file is None
    assert levels(run) == []
