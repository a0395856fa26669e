"""The public keys of a server that the person's ssh has accepted already.

Without them SFTP would trust any server. The format is that of sshd(8), "SSH_KNOWN_HOSTS FILE
FORMAT".
"""

from __future__ import annotations

import base64
import hmac
from pathlib import Path

_SSH_PORT = 22


def keys_of(host: str, port: int, file: Path | None = None) -> list[str]:
    """Return the keys of a server as `type key`; none if the file does not have it."""
    name = host if port == _SSH_PORT else f"[{host}]:{port}"
    try:
        lines = (file or Path("~/.ssh/known_hosts").expanduser()).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError, RuntimeError):
        return []
    keys = []
    for line in lines:
        words = line.split()
        # Lines with a marker are about authorities, and about keys that are no longer valid.
        if len(words) >= 3 and not words[0].startswith(("#", "@")) and _names(words[0], name):
            keys.append(f"{words[1]} {words[2]}")
    return keys


def _names(hosts: str, name: str) -> bool:
    """Return whether the first word of a line, which may be hashed, names a host."""
    if not hosts.startswith("|1|"):
        return name in hosts.split(",")
    try:
        salt, digest = (base64.b64decode(part) for part in hosts[3:].split("|"))
    except ValueError:
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)
