"""The HTTP function as functions-framework loads it, from wherever the package is installed."""

from __future__ import annotations

from typing import Final

import functions_framework
from flask import Request, Response

from efss_transfer.runtimes.flask import app

_service: Final = app.from_environment()


@functions_framework.http
def transfer(request: Request) -> Response:
    """POST a transfer request, or GET what the service says of itself."""
    return _service.handle(request)
