"""A stand-in of Nextcloud, for tests that must see both sides of a conversation.

    with nextcloud.serving() as cloud:
        cloud.write("/data/a.csv", b"…")
        cloud.user().quota = 5 << 20
        cloud.fail("PUT", "*/b.bin", nextcloud.error(errors.locked("/b.bin")), times=1)
        function.copy(source, cloud.storage().endpoint("data"))
        assert cloud.statuses("MKCOL") == {201: 1}

It mirrors Nextcloud 32.0.1 with PHP 8.2 (php-fpm behind nginx, PostgreSQL, files on local
storage), as observed in November 2026: WebDAV with ETags, ids, checksums and quota, chunked
uploads, bulk uploads, zip downloads, public links, app passwords, throttling, maintenance,
locks. `support.nextcloud.probe` asks the same of a real one; where the two differ, this is wrong.

Deliberate, although it may surprise:

- A PUT overwrites an existing file in place, so an upload that is cut off leaves a truncated
  file. New files and chunked uploads are complete or absent. `serving(buffered=True)` mirrors a
  web server that holds bodies until they are complete, which prevents this.
- A body of unknown length (`Transfer-Encoding: chunked`) is stored as an empty file, with 201,
  unless the web server buffers.
- An ETag depends on time, inode and size only: two contents can have the same ETag.
- A refused modification time (500) leaves the new content in place.
- A stored checksum is the one that the client sent.

Requests take no extra time by default. With `serving(cost=OBSERVED)` they take the processor
time that was measured, on two processors, and requests for one folder collide as they did there.

With `object_store = True` it keeps chunks as one with Redis and an S3 store as primary storage does
(32.0.1, November 2026): a session that began with a Destination lists parts by number with their
MD5 as ETag; its size counts to the file that it replaces, which cannot be read until the end; a
sum of parts is not compared with the length; `orphans` counts the uploads that a DELETE of the
session's folder left in the store.

Not mirrored: trash and versions, shares between accounts, other ways of object stores.
"""

from support.nextcloud.cloud import OBSERVED, Link, Nextcloud, User
from support.nextcloud.faults import error
from support.nextcloud.server import serving
from support.stand_in.faults import Fault, Request, delay, reset, stall, status, truncate
from support.stand_in.site import Cost

__all__ = [
    "OBSERVED",
    "Cost",
    "Fault",
    "Link",
    "Nextcloud",
    "Request",
    "User",
    "delay",
    "error",
    "reset",
    "serving",
    "stall",
    "status",
    "truncate",
]
