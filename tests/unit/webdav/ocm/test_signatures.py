"""Signatures of requests: an example of RFC 9421, and what a key must be."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from efss_transfer.webdav.ocm.signatures import SiteSigner, signature_base
from support.ocm import new_key

# RFC 9421, appendix B.1.4.
PEM = (
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n"
    "-----END PRIVATE KEY-----\n"
)


def test_example_of_the_rfc_has_its_signature() -> None:
    """Appendix B.2.6."""
    covered = [
        ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
        ("@method", "POST"),
        ("@path", "/foo"),
        ("@authority", "example.com"),
        ("content-type", "application/json"),
        ("content-length", "18"),
    ]
    _, base = signature_base(covered, 'created=1618884473;keyid="test-key-ed25519"')
    key = load_pem_private_key(PEM.encode(), None)
    signature = base64.b64encode(key.sign(base))  # type: ignore[union-attr, call-arg]  # Ed25519
    assert signature == (
        b"wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
    )


def test_signature_covers_what_the_draft_names() -> None:
    headers = SiteSigner(PEM, "host#key").headers("POST", "https://h/token", b"a=b")
    assert headers["Signature-Input"].startswith(
        'ocm=("@method" "@target-uri" "content-digest" "content-length" "date");created='
    )
    assert headers["Signature-Input"].endswith(';keyid="host#key";alg="ed25519"')
    assert set(headers) == {"Content-Digest", "Date", "Signature-Input", "Signature"}


def test_key_of_another_kind_is_refused_without_a_word_of_it() -> None:
    pem = generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    for wrong in (pem.decode(), "canary", PEM.replace("MC4C", "canary"), new_key()[0][:60]):
        with pytest.raises(ValueError, match=r"^not a") as refusal:
            SiteSigner(wrong, "host#key")
        assert "canary" not in str(refusal.value)
