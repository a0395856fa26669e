"""Signatures of requests by RFC 9421, in the one form that Open Cloud Mesh has them.

The draft fixes label, components and digest, so a signature is these few lines. A library for
every form of them would be two more packages in each deployment.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Mapping, Sequence
from email.utils import formatdate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class SiteSigner:
    """Signs by an Ed25519 key that a site publishes as `key_id` in its JWKS."""

    def __init__(self, pem: str, key_id: str) -> None:
        """Read a private key (PKCS 8) in PEM. Raises ValueError for any other."""
        self._key = _private_key(pem)
        self._key_id = key_id

    def headers(self, method: str, url: str, body: bytes) -> Mapping[str, str]:
        """Return the headers to add to a request."""
        now = time.time()
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode("ascii")
        added = {"Content-Digest": f"sha-256=:{digest}:", "Date": formatdate(now, usegmt=True)}
        covered = [
            ("@method", method),
            ("@target-uri", url),
            ("content-digest", added["Content-Digest"]),
            ("content-length", str(len(body))),
            ("date", added["Date"]),
        ]
        parameters = f'created={int(now)};keyid="{self._key_id}";alg="ed25519"'
        given, base = signature_base(covered, parameters)
        signature = base64.b64encode(self._key.sign(base)).decode("ascii")
        return added | {"Signature-Input": f"ocm={given}", "Signature": f"ocm=:{signature}:"}


def signature_base(covered: Sequence[tuple[str, str]], parameters: str) -> tuple[str, bytes]:
    """Return the value of Signature-Input, and the bytes to sign (section 2.5)."""
    given = "(" + " ".join(f'"{name}"' for name, _ in covered) + f");{parameters}"
    lines = [f'"{name}": {value}' for name, value in (*covered, ("@signature-params", given))]
    return given, "\n".join(lines).encode("utf-8")


def _private_key(pem: str) -> Ed25519PrivateKey:
    # Here and not above: few transfers sign, and the import takes 40 ms.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("not a private key in PEM without a passphrase") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("not an Ed25519 key")
    return key
