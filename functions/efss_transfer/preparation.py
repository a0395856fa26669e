"""What can be done before there is a request, where a platform starts functions early.

It holds nothing secret, starts no process, and imports little, so that it can begin first.
"""

from __future__ import annotations

import os
from contextlib import suppress

from efss_transfer.engines.rclone.binary import begin_hashing, find_binary
from efss_transfer.errors import EngineUnavailable
from efss_transfer.settings import program


def begin() -> None:
    """Begin to hash rclone's program, in the background: it takes about as long as the
    imports. Never raises; what is wrong is said by the first request that needs it.
    """
    with suppress(EngineUnavailable):
        begin_hashing(find_binary(program(os.environ)))
