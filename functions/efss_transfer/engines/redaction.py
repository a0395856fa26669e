"""The cleaning of texts: nothing secret is in what is told, whoever said it."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, quote_plus

_URL_USERINFO: Final = re.compile(r"(?<=://)[^/\s@\"']+@")
_URL_QUERY: Final = re.compile(r"(https?://[^\s\"'?]*)\?[^\s\"']*")
_BEARER: Final = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]+")
_LONGEST_MESSAGE: Final = 500
_SHORTEST_TO_REPLACE: Final = 4
_SHORTEST_PART: Final = 8


class Redactor:
    """Takes everything secret out of a text before anybody sees it.

    A server may put what it was sent into its answer, and rclone puts that answer into
    its own text, so every form in which a secret can come back is looked for.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        # The longest first: a secret that holds another must go as a whole.
        self._long = sorted(
            (f for f in forms if len(f) >= _SHORTEST_TO_REPLACE), key=len, reverse=True
        )
        self._short = [f for f in forms if 0 < len(f) < _SHORTEST_TO_REPLACE]

    def redact(self, text: str, otherwise: str) -> str:
        """The text without secrets, URL queries and control characters, cut to 500
        characters; or `otherwise`, if a secret is too short to be told from the rest.
        """
        for secret in self._long:
            text = text.replace(secret, "[redacted]")
        if any(secret in text for secret in self._short):
            return otherwise
        text = _URL_USERINFO.sub("", text)
        text = _URL_QUERY.sub(r"\1?[redacted]", text)
        text = _BEARER.sub(r"\1 [redacted]", text)
        text = _CONTROL.sub(" ", text).strip()
        if len(text) > _LONGEST_MESSAGE:
            text = text[: _LONGEST_MESSAGE - 1] + "…"
        return text or otherwise


def _forms(secret: str) -> Iterable[str]:
    """A secret, its parts that are secrets themselves, and each as it may be quoted."""
    for part in {secret, *_parts(secret)}:
        yield part
        yield quote(part)
        yield quote(part, safe="")
        yield quote_plus(part)
        yield json.dumps(part)[1:-1]
        in_json = json.dumps(part, ensure_ascii=False)[1:-1]
        yield in_json
        # Go writes JSON that may stand in a page, and a page has escapes of its own.
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
        yield from (line for line in lines if len(line) >= _SHORTEST_PART)
    try:
        members = json.loads(secret)
    except ValueError:
        return
    if isinstance(members, dict):
        for value in members.values():
            # The addresses in a service account are not secret, and worth reading.
            if isinstance(value, str) and not value.startswith("https://"):
                yield from (
                    part for part in (value, *value.splitlines()) if len(part) >= _SHORTEST_PART
                )
