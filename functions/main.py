"""The entry point of functions-framework; all else is in efss_transfer.

functions-framework loads this file under the name `main`, so code that stood here could
exist twice in a process.
"""

from efss_transfer.runtimes.flask.function import transfer

__all__ = ["transfer"]
