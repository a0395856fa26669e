"""The entry point of Knative func (Python, ASGI); all else is in efss_transfer."""

import sys

from efss_transfer.model.errors import ConfigurationError
from efss_transfer.runtimes import buffered
from efss_transfer.runtimes.asgi import Application


def new() -> Application:
    """The function, which func-python serves; a wrong setting ends the start, in a line."""
    try:
        return Application(buffered.service())
    except ConfigurationError as error:
        sys.exit(f"efss-transfer: {error}")
