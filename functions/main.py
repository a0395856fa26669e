"""The entry point of functions-framework; all else is in efss_transfer.

functions-framework loads this file under the name `main`, so code that stood here could
exist twice in a process.
"""

import functions_framework
from flask import Request, Response

from efss_transfer import app

_service = app.from_environment()


@functions_framework.http
def transfer(request: Request) -> Response:
    """POST a transfer request, or GET what the service says of itself."""
    return _service.handle(request)
