"""Gives each run a daemon of its own, from a known rclone that can run here."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from efss_transfer.config.settings import Settings
from efss_transfer.egress.rules import Egress
from efss_transfer.engines.base import Health
from efss_transfer.engines.rclone.process import run_as, sandbox
from efss_transfer.engines.rclone.process.binary import find_binary, start_hashing, verify_binary
from efss_transfer.engines.rclone.process.daemon import running_daemon
from efss_transfer.engines.rclone.process.standby import BootedDaemon, Standby, boot
from efss_transfer.engines.rclone.rc.client import RcClient, RcError
from efss_transfer.model.errors import EngineError, EngineUnavailable
from efss_transfer.model.request import TransferRequest

OLDEST_VERSION: Final = (1, 75, 0)
"""The oldest rclone whose messages and calls this engine knows."""


class DaemonLauncher:
    """Launches daemons, and knows how many run at the same time.

    Creating it raises ConfigurationError if rclone cannot run as the configured user, and logs
    how far rclone is confined on this machine.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._versions: dict[Path, str] = {}
        self._lock = threading.Lock()
        self.running = 0
        """The number of runs that have a daemon."""
        run_as.find_account(settings.rclone.user)
        self._measures = sandbox.measures(settings, by_port=True)
        sandbox.log_measures(self._measures)
        # The first daemon boots at the first question and not now, because the process that
        # creates this object may fork the processes that serve.
        self._standby = Standby(settings, self.binary) if settings.rclone.standby else None
        with suppress(EngineUnavailable):  # `binary` and `health` raise or report it.
            start_hashing(find_binary(settings.rclone.binary))

    def binary(self) -> Path:
        """The path of the rclone to run. Raises EngineUnavailable if there is none, if it is not
        a known one, or if the configured user cannot run it.
        """
        binary = find_binary(self._settings.rclone.binary)
        verify_binary(binary, self._settings.rclone.sha256)
        run_as.check_executable(binary, self._settings.rclone.user)
        return binary

    @contextmanager
    def launch(
        self,
        binary: Path,
        request: TransferRequest,
        egress: Egress,
        take_line: Callable[[bytes], None],
    ) -> Iterator[BootedDaemon]:
        """A daemon for the length of the block: the one on standby, or a new one. `take_line`
        receives its log.
        """
        with self._counted():
            if self._standby is None:
                with boot(binary, self._settings, take_line, egress, request) as daemon:
                    yield daemon
                return
            spare = self._standby.take(binary, request, egress)
            try:
                with (
                    spare.use(take_line, egress)
                    if spare is not None
                    else boot(binary, self._settings, take_line, egress, request)
                ) as daemon:
                    yield daemon
            finally:
                # Not earlier: booting the next daemon would slow this run down.
                self._standby.prepare()

    def version(self, binary: Path, rc: RcClient) -> str:
        """The version of a binary, by its first daemon. Raises EngineUnavailable if it is too old.

        A daemon is asked only once for each binary.
        """
        if binary not in self._versions:
            version = rc.version()
            numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
            if numbers is None or tuple(map(int, numbers.groups())) < OLDEST_VERSION:
                oldest = ".".join(map(str, OLDEST_VERSION))
                found = f"has version {version[:40]}" if version else "does not report its version"
                raise EngineUnavailable(
                    f"rclone {oldest} or later is needed, but the configured rclone {found}. "
                    "Install a newer one, or set EFSS_TRANSFER_RCLONE to its path."
                )
            self._versions[binary] = version
        return self._versions[binary]

    def health(self) -> Health:
        """Whether rclone can be found and booted here, and its version.

        It is booted because a binary may be there and not run (another architecture, no memory);
        only once, because that does not change.
        """
        if self._standby is not None:
            self._standby.prepare()
        try:
            binary = self.binary()
            if binary not in self._versions:
                with (
                    running_daemon(binary, self._settings, lambda _: None) as daemon,
                    RcClient(daemon.socket_path, self._settings.rclone.boot_seconds) as rc,
                ):
                    self.version(binary, rc)
        except (EngineError, RcError) as error:
            return Health(usable=False, detail=str(error), sandbox=self._measures)
        return Health(usable=True, version=self._versions[binary], sandbox=self._measures)

    def close(self) -> None:
        """End the daemon on standby."""
        if self._standby is not None:
            self._standby.close()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self.running += 1
        try:
            yield
        finally:
            with self._lock:
                self.running -= 1
