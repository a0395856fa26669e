"""Logs when gunicorn begins to serve, with its address, and when it has stopped.

functions-framework passes no hooks on to gunicorn, so this changes gunicorn's defaults for them.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from gunicorn import config

from efss_transfer.service import logs

_LOG: Final = logging.getLogger("efss_transfer.runtimes.flask")


def install() -> None:
    """Call it before functions-framework makes its server."""
    config.PostWorkerInit.default = staticmethod(_serving)
    config.OnExit.default = staticmethod(_stopped)


def _serving(worker: Any) -> None:
    # gunicorn counts its workers. Of several, the first one serves; later ones replace others.
    if worker.age > 1:
        return
    for listener in worker.sockets:
        address = f"{listener}/" if str(listener).startswith("http") else str(listener)
        _LOG.info("serving at %s", address, extra=logs.members("serving", {}, address=address))


def _stopped(_arbiter: object) -> None:
    _LOG.info("stopped", extra=logs.members("stopped", {}))
