"""Receivers of notifications, real ones on loopback, and certificates for them."""

from __future__ import annotations

import base64
import http.server
import json
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from support import http_servers

KEY = b"canary-of-the-notify-secret!"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@dataclass
class Heard:
    """A request that came to a receiver."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> Any:
        return json.loads(self.body)

    def is_signed(self, key: bytes = KEY) -> bool:
        """Whether the signature is right, as openssl has it."""
        given = self.headers
        signed = f"{given['webhook-id']}.{given['webhook-timestamp']}.".encode() + self.body
        made = subprocess.run(
            f"openssl dgst -sha256 -mac HMAC -macopt hexkey:{key.hex()} -binary".split(),
            input=signed,
            capture_output=True,
            check=True,
        ).stdout
        return given["webhook-signature"] == "v1," + base64.b64encode(made).decode()


@dataclass
class Receiver:
    """A running receiver. It answers as `answers` say, one after another, the last for ever:
    a status, and headers.
    """

    url: str = ""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=lambda: [(204, {})])
    heard: list[Heard] = field(default_factory=list)


@contextmanager
def receiver(
    *answers: int | tuple[int, dict[str, str]], tls: ssl.SSLContext | None = None
) -> Iterator[Receiver]:
    """A receiver for the length of the block."""
    made = Receiver()
    if answers:
        made.answers = [one if isinstance(one, tuple) else (one, {}) for one in answers]

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        status, headers = made.answers[min(len(made.heard), len(made.answers) - 1)]
        # Names in small letters: HTTP does not tell them apart.
        given = {name.lower(): value for name, value in handler.headers.items()}
        made.heard.append(Heard(handler.command, handler.path, given, body))
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with http_servers.misbehaving(answer, tls) as url:
        made.url = url
        yield made


def certificates(folder: Path, *names: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate authority of our own, as a file, and a server's context whose certificate
    it has signed for these names and addresses.
    """
    folder.mkdir(exist_ok=True)
    authority, server = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of the tests")])
    from_, until = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1)

    def certificate(
        subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder(
            named, subject, key.public_key(), x509.random_serial_number(), from_, until
        )
        for extension in extensions:
            critical = isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(authority, hashes.SHA256())

    identifier = x509.SubjectKeyIdentifier.from_public_key(authority.public_key())
    root = certificate(named, authority, x509.BasicConstraints(True, None), identifier)
    alternatives: list[x509.GeneralName] = [
        x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
        for name in names
    ]
    leaf = certificate(
        x509.Name([]),
        server,
        x509.SubjectAlternativeName(alternatives),
        x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
    )
    file = folder / "authority.pem"
    file.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    pem = serialization.Encoding.PEM
    (folder / "server.pem").write_bytes(
        leaf.public_bytes(pem)
        + server.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return file, context
