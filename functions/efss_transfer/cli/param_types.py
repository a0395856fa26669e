"""The kinds of values that options and arguments of the command take, besides click's own."""

from __future__ import annotations

import re
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from efss_transfer.model.result import Shard

_SIZE: Final = re.compile(r"(\d{1,18}(?:\.\d{1,3})?)\s*([kmgtp]?)(?:i?b)?", re.ASCII | re.I)
_MOST_SHARDS: Final = 10_000  # as the schema has it


# To mypy it is generic. In click 8.1, with which this works too, it is not.
class _Type(click.ParamType):  # type: ignore[type-arg]
    def convert(
        self,
        value: Any,
        param: click.Parameter | None,  # noqa: ARG002 - click's signature
        ctx: click.Context | None,  # noqa: ARG002 - click's signature
    ) -> Any:
        """What the command is given."""
        return self.taken(value)

    def taken(self, value: Any) -> Any:
        """The same, of the text or the default alone. Raises click.BadParameter."""
        return str(value)


class Size(_Type):
    """Bytes, or with k, M, G, T, P behind it as many times 1024 of them as rclone has it."""

    name = "SIZE"

    def taken(self, value: Any) -> int:
        """The number of bytes."""
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(value)
        if found is None:
            self.fail("a size is a number of bytes, or one with k, M, G, T or P behind it.")
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
        """Names of the endpoints file that begin so."""
        from efss_transfer.cli import endpoints_file

        file = ctx.params.get("endpoints")
        try:
            names = endpoints_file.read(file, lambda _: "").names()
        except endpoints_file.InvalidEndpoints:
            return []
        return [CompletionItem(f"{name}:") for name in names if name.startswith(incomplete)]


class Shards(_Type):
    """A number of shards, or `auto`: 0."""

    name = "N"

    def taken(self, value: Any) -> int:
        """How many."""
        if value == "auto" or value == 0:
            return 0
        if not str(value).isdecimal() or not 1 <= int(value) <= _MOST_SHARDS:
            self.fail(f"It is auto, or a number from 1 to {_MOST_SHARDS}.")
        return int(value)


class OneShard(_Type):
    """INDEX/COUNT, as 0/8."""

    name = "INDEX/COUNT"

    def taken(self, value: Any) -> Shard:
        """The shard."""
        if isinstance(value, Shard):
            return value
        index, _, count = value.partition("/")
        if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
            self.fail("A shard is INDEX/COUNT; the index counts from 0.")
        return Shard(int(index), int(count))
