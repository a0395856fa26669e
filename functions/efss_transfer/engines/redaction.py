"""Removes secrets from texts before they reach a user or a log."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

_URL_USERINFO: Final = re.compile(r"(?<=://)[^/\s@\"']+@")
_URL_QUERY: Final = re.compile(r"(https?://[^\s\"'?]*)\?[^\s\"']*")
# An address inside this process (RFC 6761, section 6.4): nobody else can use it.
_INTERNAL: Final = re.compile(r"http://[\w.-]+\.invalid(?![\w.-])")
_AUTHORIZATION: Final = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]+")
_MAX_LENGTH: Final = 500
# A shorter secret occurs in ordinary words: it cannot be replaced without breaking them.
_MIN_REPLACED: Final = 4
_MIN_PART: Final = 8


class Redactor:
    """Removes secrets from texts.

    A server can repeat a request in its answer, and rclone repeats that answer in its own
    message, so every encoding in which a secret can come back is searched for.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        self._forms: set[str] = set()
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Remove these secrets, too."""
        self._forms |= {form for secret in secrets for form in _forms(secret)}
        forms = self._forms
        # The longest first: a secret that contains another one must be replaced as a whole.
        self._long = sorted((f for f in forms if len(f) >= _MIN_REPLACED), key=len, reverse=True)
        self._short = [f for f in forms if 0 < len(f) < _MIN_REPLACED]

    def redact(self, text: str, fallback: str) -> str:
        """The text without secrets, internal addresses, URL queries and control characters, cut to
        500 characters.

        Returns `fallback` if nothing remains, or if the text contains a secret that is too
        short to be replaced.
        """
        for secret in self._long:
            text = text.replace(secret, "[redacted]")
        if any(secret in text for secret in self._short):
            return fallback
        text = _INTERNAL.sub("", text)
        text = _URL_USERINFO.sub("", text)
        text = _URL_QUERY.sub(r"\1?[redacted]", text)
        text = _AUTHORIZATION.sub(r"\1 [redacted]", text)
        text = _CONTROL.sub(" ", text).strip()
        if len(text) > _MAX_LENGTH:
            text = text[: _MAX_LENGTH - 1] + "…"
        return text or fallback


def _forms(secret: str) -> Iterable[str]:
    """A secret and its secret parts, each in the encodings in which it can come back."""
    for part in {secret, *_parts(secret)}:
        yield part
        yield quote(part)
        yield quote(part, safe="")
        yield quote_plus(part)
        yield json.dumps(part)[1:-1]
        in_json = json.dumps(part, ensure_ascii=False)[1:-1]
        yield in_json
        # Go escapes these characters in JSON, so that it can be part of an HTML page.
        yield in_json.translate({ord(sign): f"\\u{ord(sign):04x}" for sign in "&<>"})
        yield html.escape(part, quote=False)
        escaped = html.escape(part)
        yield escaped
        yield escaped.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
        yield escaped.replace("&#x27;", "&#039;")


def _parts(secret: str) -> Iterable[str]:
    """The lines of a PEM key, and the texts in a JSON credential."""
    lines = re.split(r"\r?\n|(?:\\r)?\\n", secret)
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= _MIN_PART)
    try:
        members = json.loads(secret)
    except ValueError:
        return
    if isinstance(members, dict):
        for value in members.values():
            # The URLs in a service account are not secret, and useful in an error.
            if isinstance(value, str) and not value.startswith("https://"):
                yield from (part for part in (value, *value.splitlines()) if len(part) >= _MIN_PART)
