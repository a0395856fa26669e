"""A stand-in of OpenCloud, for tests that must see both sides of a conversation.

    with opencloud.serving() as cloud:
        cloud.write("/data/a.csv", b"…")
        cloud.processing_seconds = 2
        function.copy(source, cloud.storage(by="app").endpoint("data"))
        assert cloud.statuses("PUT") == {201: 1}

It mirrors OpenCloud of February 2025 (commit ebba861; status.php says 0.1.0), which has REVA 2
with the driver `decomposed`, as observed in November 2026. ownCloud Infinite Scale shares that
code; it was not asked. `observed.json` has what the real one answered to `probe`, and a test
compares; where the two differ, this is wrong. Seen there, and mirrored:

- A PUT replaces a file atomically: one that is cut off or refused leaves the old file.
- `OC-Checksum` is verified. A wrong `If-Match` is 409, and `If-None-Match` is ignored.
- A body of unknown length is refused with 400.
- With an equal `X-OC-Mtime` the ETag is the same for other bytes, and the third PUT of one time is
  500, as is every later one of that path: a version of that time exists already. Times with
  different fractions of one second are different, and are listed as that second.
- PROPPATCH of a time is 200, and the time stays as it was.
- An empty file has no checksum.
- `quota-available-bytes` is all that the space may hold, whatever is used; -2 for no limit. What
  remains is in `/graph/v1.0/me/drives`.
- A file in post-processing (seen with a delay of 3 s) has its new size, time, ETag and checksums,
  under 425; GET, HEAD and DELETE of it are 425, COPY is 500, MOVE and a second PUT work, also with
  `If-Match`. No Retry-After. An empty file is never in post-processing.
- The sign-in is paid with each request, see `OBSERVED`.
- A PUT that creates a name may lose against another and get 412 (1 of 16 at once). It always does
  with `cloud.refuses_races`.

- tus: see `tus`. The archiver: see `archiver`.

Not mirrored: locks, trash, shares.
"""

from support.opencloud.cloud import NEVER, OBSERVED, OpenCloud, Space, User
from support.opencloud.server import serving
from support.stand_in.faults import Fault, Request, delay, reset, stall, status, truncate

__all__ = [
    "NEVER",
    "OBSERVED",
    "Fault",
    "OpenCloud",
    "Request",
    "Space",
    "User",
    "delay",
    "reset",
    "serving",
    "stall",
    "status",
    "truncate",
]
