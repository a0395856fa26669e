"""The HTTP function that functions-framework serves."""

from __future__ import annotations

import os
from typing import Final

import functions_framework
from flask import Request, Response

from efss_transfer.runtimes.flask import announcement, app, header_deadline

announcement.install()
header_deadline.install(os.environ)
_service: Final = app.create_service()


@functions_framework.http
def transfer(request: Request) -> Response:
    """Answer any request to the service."""
    return _service.handle(request)
