"""Booted daemons: one for a transfer, and, where the operator wants it, one ahead of the next.

A daemon that stands by is in the same sandbox as any other, and holds no secret: it has no
remote, and its guard lets nothing out until it is used. It is used once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from efss_transfer.config.settings import Settings
from efss_transfer.egress.rules import Egress
from efss_transfer.engines.rclone.process.daemon import running_daemon
from efss_transfer.engines.rclone.process.network import UNGUARDED, Route, open_route
from efss_transfer.engines.rclone.rc.client import RcClient, RcError
from efss_transfer.model.errors import EfssTransferError
from efss_transfer.model.request import TransferRequest
from efss_transfer.model.targets import Address

_LOG: Final = logging.getLogger(__name__)
_ALIVE_SECONDS: Final = 1.0


@dataclass(frozen=True)
class BootedDaemon:
    """A daemon, by its API, and the way that its connections take."""

    pid: int
    rc: RcClient
    route: Route


@contextmanager
def boot(
    binary: Path,
    settings: Settings,
    take_line: Callable[[bytes], None],
    egress: Egress,
    request: TransferRequest | None = None,
) -> Iterator[BootedDaemon]:
    """A daemon that is booted now, for the length of the block; its first answer is waited
    for by who asks it. Without a request it may connect to its guard alone.
    """
    with (
        open_route(egress, request) as way,
        running_daemon(
            binary, settings, take_line, connect_ports=way.ports, proxy=way.proxy
        ) as daemon,
        RcClient(daemon.socket_path, settings.rclone.boot_seconds) as rc,
    ):
        yield BootedDaemon(daemon.pid, rc, way)


class Standby:
    """Keeps one daemon ready. Nothing here raises: where there is none, one is booted."""

    def __init__(self, settings: Settings, find: Callable[[], Path]) -> None:
        self._settings = settings
        self._find = find
        self._lock = threading.Lock()
        self._spare: _Spare | None = None
        self._making = self._closed = False

    def prepare(self) -> None:
        """Boot one in the background, unless there is one, or one is being booted."""
        with self._lock:
            if self._making or self._closed or self._spare is not None:
                return
            self._making = True
        threading.Thread(target=self._make, name="rclone-standby", daemon=True).start()

    def take(self, binary: Path, request: TransferRequest, egress: Egress) -> _Spare | None:
        """The one that is ready, if it does for this transfer; it is the caller's then."""
        ends = (request.source, request.destination)
        if egress.proxy is not None or any(end.type in UNGUARDED for end in ends):
            return None
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None and (spare.binary != binary or not spare.is_alive()):
            _LOG.warning("the rclone that stood by does not answer, and is ended")
            spare.close()
            return None
        return spare

    def close(self) -> None:
        """End it, and boot no other."""
        with self._lock:
            self._closed = True
            spare, self._spare = self._spare, None
        if spare is not None:
            spare.close()

    def _make(self) -> None:
        spare: _Spare | None = None
        try:
            spare = _Spare(self._find(), self._settings)
        except (EfssTransferError, RcError) as error:
            # A transfer that needs one says what is wrong.
            _LOG.warning("no rclone stands by: %s", type(error).__name__)
        else:
            _LOG.info("an rclone stands by as process %d", spare.pid)
        finally:
            with self._lock:
                self._making = False
                late = self._closed
                if not late:
                    self._spare = spare
        if late and spare is not None:
            spare.close()


class _Spare:
    """A daemon that was booted for nobody yet. Raises what booting raises."""

    def __init__(self, binary: Path, settings: Settings) -> None:
        self.binary = binary
        self._egress = Egress()
        self._take_line: Callable[[bytes], None] = lambda _: None
        with ExitStack() as undo:
            late = Egress(self._permits)
            self._ready = undo.enter_context(boot(binary, settings, self._taken, late))
            self._ready.rc.version()
            self._undo = undo.pop_all()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._ready.pid

    def is_alive(self) -> bool:
        """Whether it answers."""
        return self._ready.rc.is_alive(_ALIVE_SECONDS)

    @contextmanager
    def used(self, take_line: Callable[[bytes], None], egress: Egress) -> Iterator[BootedDaemon]:
        """Use it for the length of the block; it is ended then."""
        with self._undo:
            self._egress, self._take_line = egress, take_line
            yield self._ready

    def close(self) -> None:
        """End it unused."""
        self._undo.close()

    def _permits(self, host: str, port: int, address: Address) -> bool:
        return self._egress.permits(host, port, address)

    def _taken(self, line: bytes) -> None:
        self._take_line(line)
