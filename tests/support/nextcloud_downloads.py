"""Copies from a Nextcloud stand-in to S3, for the tests of its own ways of sending files."""

from __future__ import annotations

import uuid
from typing import Any

from support.nextcloud import Nextcloud
from support.service_process import Function
from support.storages import Storage


def fill(cloud: Nextcloud, files: dict[str, bytes]) -> dict[str, str]:
    """Fill the folder `from`, and return the hashes of its files."""
    for name, content in files.items():
        cloud.write(f"/from/{name}", content)
    return cloud.hashes("from")


def copy(
    function: Function,
    cloud: Nextcloud,
    s3: Storage,
    folder: str = "",
    selection: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[Any, dict[str, str]]:
    """Copy the folder `from` in one attempt, to a new folder unless one is given.

    Returns the answer, and the hashes of what is there.
    """
    folder = folder or uuid.uuid4().hex
    more = {} if selection is None else {"selection": selection}
    options = {"report": "all", "attempts": 1, **options}
    ends = cloud.storage().endpoint("from"), s3.endpoint(folder)
    answer = function.copy(*ends, options=options, **more)
    return answer, s3.hashes(f"bucket/{folder}")


def in_bulk(answer: Any) -> int:
    """Return how many files came in archives."""
    body = answer.json()
    return int(body.get("result", body)["rclone"].get("bulk_downloads", 0))
