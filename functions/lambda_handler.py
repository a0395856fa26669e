"""The entry point of AWS Lambda (`lambda_handler.handler`); all else is in efss_transfer."""

import gc

# Nothing of what is imported is garbage: a tenth of a start is saved by not looking for any.
gc.disable()

from efss_transfer.runtimes.aws.handler import handler  # noqa: E402

gc.freeze()
gc.enable()

__all__ = ["handler"]
