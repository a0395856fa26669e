"""The entry point of Knative func (Python, ASGI); all else is in efss_transfer."""

import sys

from efss_transfer import whole
from efss_transfer.asgi import Application
from efss_transfer.errors import ConfigurationError


def new() -> Application:
    """The function, which func-python serves; a wrong setting ends the start, in a line."""
    try:
        return Application(whole.service())
    except ConfigurationError as error:
        sys.exit(f"efss-transfer: {error}")
