"""The entry point of AWS Lambda (`lambda_handler.handler`)."""

import gc

# Imported modules are no garbage; not looking for any saves a tenth of a cold start.
gc.disable()

from efss_transfer.runtimes.aws.handler import handler  # noqa: E402

gc.freeze()
gc.enable()

__all__ = ["handler"]
