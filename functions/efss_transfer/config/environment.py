"""Reads this service's environment variables, which all begin with EFSS_TRANSFER_."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from efss_transfer.model.errors import ConfigurationError

PREFIX: Final = "EFSS_TRANSFER_"
# Read by the command, and not by the service; both may run in the same environment.
CLIENT_VARIABLES: Final = frozenset(PREFIX + name for name in ("URL", "TOKEN", "ENDPOINTS"))


class EnvironmentReader:
    """Reads and checks variables by their names without the prefix, and records those names.

    `limits` are upper bounds, by the same names: a limit replaces a default, and a larger value
    that is set. An empty variable counts as unset.
    """

    def __init__(
        self, environment: Mapping[str, str], limits: Mapping[str, float] | None = None
    ) -> None:
        self.environment: Final = environment
        self._limits = limits or {}
        self._known: set[str] = set()

    @property
    def known(self) -> frozenset[str]:
        """The variables that were read so far, whether they are set or not."""
        return frozenset(self._known)

    def text(self, name: str, default: str) -> str:
        """A variable's text."""
        self._known.add(PREFIX + name)
        return self.environment.get(PREFIX + name) or default

    def number(self, name: str, default: float, lowest: float, highest: float) -> float:
        """A variable's number. Raises ConfigurationError if it is not one within the bounds."""
        text = self.text(name, str(self._limits.get(name, default)))
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not lowest <= value <= highest:
            raise ConfigurationError(
                f"{PREFIX}{name} must be a number from {lowest:.10g} to {highest:.10g}."
            )
        return min(value, self._limits.get(name, value))

    def whole_number(self, name: str, default: int, lowest: int, highest: int) -> int:
        """A variable's whole number. Raises ConfigurationError if it is not one within the
        bounds.
        """
        text = self.text(name, str(int(self._limits.get(name, default))))
        try:
            value = int(text)
        except ValueError:
            value = lowest - 1
        if not lowest <= value <= highest:
            raise ConfigurationError(
                f"{PREFIX}{name} must be a whole number from {lowest} to {highest}."
            )
        return int(min(value, self._limits.get(name, value)))

    def refuse_unknown(self) -> None:
        """Raise ConfigurationError if a variable has the prefix and was not read.

        A misspelt limit that is ignored would be no limit.
        """
        ours = {name for name in self.environment if name.startswith(PREFIX)}
        if unknown := ours - self._known - CLIENT_VARIABLES:
            plural = "s" if len(unknown) > 1 else ""
            raise ConfigurationError(
                f"Unknown setting{plural}: {', '.join(sorted(unknown))}. "
                f"Known settings: {', '.join(sorted(self._known))}."
            )
