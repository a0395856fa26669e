"""The entry point of functions-framework.

functions-framework loads this file as a module `main` of its own, so any code in it could exist
twice in a process.
"""

from efss_transfer.runtimes.flask.function import transfer

__all__ = ["transfer"]
