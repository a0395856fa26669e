"""Types of the command's options and arguments that click does not have."""

from __future__ import annotations

import re
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from efss_transfer.model.result import Shard

_SIZE: Final = re.compile(r"(\d{1,18}(?:\.\d{1,3})?)\s*([kmgtp]?)(?:i?b)?", re.ASCII | re.I)
_MAX_SHARDS: Final = 10_000  # as in the schema


# Generic for mypy, but not in click 8.1, which is supported too.
class _Type(click.ParamType):  # type: ignore[type-arg]
    def convert(
        self,
        value: Any,
        param: click.Parameter | None,  # noqa: ARG002 - click's signature
        ctx: click.Context | None,  # noqa: ARG002 - click's signature
    ) -> Any:
        """Parse a value for click."""
        return self.parse(value)

    def parse(self, value: Any) -> Any:
        """Parse a text or a default. Raises click.BadParameter."""
        return str(value)


class Size(_Type):
    """Bytes; with the suffix k, M, G, T or P a power of 1024 bytes, as in rclone."""

    name = "SIZE"

    def parse(self, value: Any) -> int:
        """Return the number of bytes."""
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(value)
        if found is None:
            self.fail("must be a size: a number of bytes, or one with the suffix k, M, G, T or P.")
        return int(float(found[1]) * 1024 ** " kmgtp".index(found[2].lower() or " "))


class Name(_Type):
    """NAME:PATH, which shells complete from the user's endpoints."""

    name = "NAME:PATH"

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 - click's signature
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the names in the endpoints file that start with `incomplete`."""
        from efss_transfer.cli import endpoints_file

        file = ctx.params.get("endpoints")
        try:
            names = endpoints_file.read(file, lambda _: "").names()
        except endpoints_file.InvalidEndpoints:
            return []
        return [CompletionItem(f"{name}:") for name in names if name.startswith(incomplete)]


class Shards(_Type):
    """A number of shards, or `auto`, which becomes 0."""

    name = "N"

    def parse(self, value: Any) -> int:
        """Return the number of shards."""
        if value == "auto" or value == 0:
            return 0
        if not str(value).isdecimal() or not 1 <= int(value) <= _MAX_SHARDS:
            self.fail(f"must be auto, or a number from 1 to {_MAX_SHARDS}.")
        return int(value)


class OneShard(_Type):
    """INDEX/COUNT, for example 0/8."""

    name = "INDEX/COUNT"

    def parse(self, value: Any) -> Shard:
        """Return the shard."""
        if isinstance(value, Shard):
            return value
        index, _, count = value.partition("/")
        if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
            self.fail("must be INDEX/COUNT, where INDEX counts from 0: for example 0/8.")
        return Shard(int(index), int(count))
