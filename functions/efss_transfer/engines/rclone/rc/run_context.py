"""The parts of one run that its steps share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from efss_transfer.engines.base import Context
from efss_transfer.engines.outcomes import FileOutcomes
from efss_transfer.engines.rclone.log import error_codes
from efss_transfer.engines.rclone.log.parser import LogParser
from efss_transfer.engines.rclone.rc.batching import NoBatching
from efss_transfer.engines.rclone.rc.claims import Claim
from efss_transfer.engines.rclone.rc.client import RcClient
from efss_transfer.engines.redaction import Redactor
from efss_transfer.model.result import Failure, Side

if TYPE_CHECKING:
    from efss_transfer.webdav.words import Record


@dataclass(frozen=True)
class RunContext:
    """One run: its daemon, the daemon's log, and the outcomes so far.

    `stop_seconds` is how long stopping the work may take. `begin_attempt` and `forget` make what
    the gateways know of the storages unknown: each attempt, which `begin_attempt` gets the number
    of, and a verification ask them again. `confirm_uploads` begins to look at the files that a
    gateway has uploaded. `memory_bytes` is what rclone may use: the transfer's memory without what
    its gateways may hold. `guessed_listings` has the sides whose FTP server lists without MLSD, and
    whether rclone asks it for hidden files; `gateways` what the gateways of sides have seen.
    `claim` is the place that the transfer writes to. `expect_no_end` tells the daemon that a job
    ignored its stop, so that rclone is killed half a second after SIGTERM. `proxy` is the one of
    rclone's command line. `batching` asks gateways to read or send many small files in one request.
    `resident_bytes` is the memory that rclone takes now.
    """

    rc: RcClient
    log: LogParser
    outcomes: FileOutcomes
    redactor: Redactor
    context: Context
    stop_seconds: float
    begin_attempt: Callable[[int], None] = lambda _: None
    forget: Callable[[], None] = lambda: None
    memory_bytes: int = 0
    confirm_uploads: Callable[[], Future[None] | None] = lambda: None
    expect_no_end: Callable[[], None] = lambda: None
    batching: NoBatching = field(default_factory=NoBatching)
    guessed_listings: dict[Side, bool] = field(default_factory=dict)
    gateways: dict[Side, Record] = field(default_factory=dict)
    claim: Claim = field(default_factory=Claim)
    resident_bytes: Callable[[], int] = lambda: sys.maxsize
    proxy: str = ""

    def classify(self, text: str, side: Side | None, path: str = "") -> Failure:
        """The failure that a text of rclone's describes, without secrets.

        `path` is relative to the folder of the copy; empty for that itself, or if it is unknown.
        """
        return self.log.explain(path, text, error_codes.classify(text, side, self.redactor))
