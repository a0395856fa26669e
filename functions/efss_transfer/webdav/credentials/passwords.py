"""What is known of a password by its form."""

from __future__ import annotations

import re
from typing import Final

from efss_transfer.webdav.dialects import Dialect

# Nextcloud makes app passwords in these two forms, for a person and for an application.
_APP_PASSWORD: Final = re.compile(r"(?:[A-Za-z0-9]{5}-){4}[A-Za-z0-9]{5}|[A-Za-z0-9]{72}")


def is_hashed(dialect: Dialect, password: str) -> bool:
    """Return whether the server hashes the password anew for each request.

    That takes longer than the work itself: more requests at a time only wait for each other.
    """
    if not password or not dialect.hashes_passwords:
        return False
    return dialect.hashes_tokens or not _APP_PASSWORD.fullmatch(password)
