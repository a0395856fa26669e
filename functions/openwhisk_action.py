"""The entry point of Apache OpenWhisk (`main`); all else is in efss_transfer."""

from efss_transfer.runtimes.openwhisk import main

__all__ = ["main"]
