"""The entry point of Knative Functions (Python, ASGI)."""

import sys

from efss_transfer.model.errors import ConfigurationError
from efss_transfer.runtimes import buffered
from efss_transfer.runtimes.asgi import Application


def new() -> Application:
    """The application that func-python serves; a configuration error exits the process."""
    try:
        return Application(buffered.service())
    except ConfigurationError as error:
        sys.exit(f"efss-transfer: {error}")
