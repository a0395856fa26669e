"""Says what a request asks for that an engine which directs third-party copies cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from efss_transfer.model.errors import UnsupportedByEngine
from efss_transfer.model.request import Endpoint

_SIGN_IN_OF_RCLONE: Final = frozenset({"sharepoint", "sharepoint-ntlm"})


def refuse(engine: str, mistakes: list[str]) -> None:
    """Raise UnsupportedByEngine if there are mistakes."""
    if mistakes:
        raise UnsupportedByEngine(
            f"The engine `{engine}` cannot do what is asked for: {'; '.join(mistakes)}. Leave that "
            "out, or choose another `engine`."
        )


def endpoint_mistakes(name: str, endpoint: Endpoint) -> Iterator[str]:
    """Yield why an endpoint cannot take part."""
    if endpoint.type != "webdav":
        yield f"`{name}.type` must be `webdav`"
    elif str(endpoint.parameters.get("vendor", "")) in _SIGN_IN_OF_RCLONE:
        yield f"`{name}.parameters.vendor` (only rclone has the sign-in of SharePoint)"
