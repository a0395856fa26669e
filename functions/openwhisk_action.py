"""The entry point of Apache OpenWhisk (`main`)."""

from efss_transfer.runtimes.openwhisk import main

__all__ = ["main"]
