"""Booted daemons: one for each transfer, and a standby for the next one if the operator wants it.

A standby runs in the same sandbox as any other daemon, and holds no secret: it has no remote,
and its guard refuses every connection until a transfer takes it. It serves one transfer.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from efss_transfer.config.settings import Settings
from efss_transfer.egress.rules import Egress
from efss_transfer.engines.rclone.process.daemon import running_daemon
from efss_transfer.engines.rclone.process.network import SIDES, UNGUARDED, Route, open_route
from efss_transfer.engines.rclone.rc.client import RcClient, RcError
from efss_transfer.model.errors import EfssTransferError
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.targets import Address

_LOG: Final = logging.getLogger(__name__)
_ALIVE_SECONDS: Final = 1.0


@dataclass(frozen=True)
class BootedDaemon:
    """A daemon, the client of its API, and the route of its connections."""

    pid: int
    rc: RcClient
    route: Route
    expect_no_end: Callable[[], None]


@contextmanager
def boot(
    binary: Path,
    settings: Settings,
    take_line: Callable[[bytes], None],
    egress: Egress,
    request: TransferRequest | None = None,
) -> Iterator[BootedDaemon]:
    """Boot a daemon for the length of the block. Its first call waits until it is up.

    Without a request the daemon may connect only to its guard. Raises what `running_daemon`
    raises.
    """
    with (
        open_route(egress, request, webdav_gateway=settings.rclone.webdav_gateway) as route,
        running_daemon(
            binary, settings, take_line, connect_ports=route.ports, proxy=route.proxy
        ) as daemon,
        RcClient(daemon.socket_path, settings.rclone.boot_seconds) as rc,
    ):
        yield BootedDaemon(daemon.pid, rc, route, daemon.expect_no_end)


class Standby:
    """Keeps one daemon booted. No method raises: without a standby, a transfer boots a daemon."""

    def __init__(self, settings: Settings, find_binary: Callable[[], Path]) -> None:
        self._settings = settings
        self._find_binary = find_binary
        self._lock = threading.Lock()
        self._spare: _Spare | None = None
        self._booting = self._closed = False

    def prepare(self) -> None:
        """Boot a standby in the background, unless one exists or is being booted."""
        with self._lock:
            if self._booting or self._closed or self._spare is not None:
                return
            self._booting = True
        threading.Thread(target=self._boot, name="rclone-standby", daemon=True).start()

    def take(self, binary: Path, request: TransferRequest, egress: Egress) -> _Spare | None:
        """Hand the standby over to the caller, if one is ready and suits this transfer."""
        endpoints = (request.source, request.destination)
        if egress.proxy is not None or any(end.type in UNGUARDED for end in endpoints):
            return None
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None and (spare.binary != binary or not spare.is_alive()):
            _LOG.warning(
                "stopped the standby rclone, which does not respond or is not the current "
                "program; the transfer boots another"
            )
            spare.close()
            return None
        return spare

    def close(self) -> None:
        """Stop the standby, and boot no other."""
        with self._lock:
            self._closed = True
            spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()

    def _boot(self) -> None:
        spare: _Spare | None = None
        try:
            spare = _Spare(self._find_binary(), self._settings)
        except (EfssTransferError, RcError) as error:
            # The next transfer fails with the details.
            _LOG.warning("could not boot a standby rclone: %s", type(error).__name__)
        else:
            _LOG.info("booted a standby rclone as process %d", spare.pid)
        finally:
            with self._lock:
                self._booting = False
                too_late = self._closed
                if not too_late:
                    self._spare = spare
        if too_late and spare is not None:
            spare.close()


class _Spare:
    """A booted daemon that no transfer uses yet. Raises what `boot` raises."""

    def __init__(self, binary: Path, settings: Settings) -> None:
        self.binary = binary
        # Both are replaced when a transfer takes the daemon.
        self._egress = Egress()
        self._take_line: Callable[[bytes], None] = lambda _: None
        with ExitStack() as undo:
            egress = Egress(
                self._permits,
                sides={side: Egress(partial(self._permits_side, side)) for side in SIDES},
            )
            self._daemon = undo.enter_context(boot(binary, settings, self._forward_line, egress))
            self._daemon.rc.version()
            self._undo = undo.pop_all()

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._daemon.pid

    def is_alive(self) -> bool:
        """Whether it responds."""
        return self._daemon.rc.is_alive(_ALIVE_SECONDS)

    @contextmanager
    def use(self, take_line: Callable[[bytes], None], egress: Egress) -> Iterator[BootedDaemon]:
        """Use it for the length of the block, and then stop it."""
        with self._undo:
            self._egress, self._take_line = egress, take_line
            yield self._daemon

    def close(self) -> None:
        """Stop it unused."""
        self._undo.close()

    def _permits(self, host: str, port: int, address: Address) -> bool:
        return self._egress.permits(host, port, address)

    def _permits_side(self, side: str, host: str, port: int, address: Address) -> bool:
        return self._egress.of(side).permits(host, port, address)

    def _forward_line(self, line: bytes) -> None:
        self._take_line(line)
