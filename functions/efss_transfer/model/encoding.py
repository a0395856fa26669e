"""Encodes JSON for responses, streams and files."""

from __future__ import annotations

import json
from typing import Any, Final

# Characters that end a line in Unicode, but not in JSON.
_UNICODE_LINE_ENDS: Final = "\x85\u2028\u2029"


def encode_json(content: Any) -> bytes:
    """Encode JSON for sending, on a single line."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    # Some clients split a stream into lines as text (`requests` and `httpx` can), and these
    # characters end a line there. In JSON they occur only in strings, so they are escaped.
    for character in _UNICODE_LINE_ENDS:
        text = text.replace(character, f"\\u{ord(character):04x}")
    # A file name with half of a surrogate pair must not lose the entire response.
    return text.encode("utf-8", "replace")
