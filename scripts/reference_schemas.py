"""The reference's pages of the JSON Schemas, with a table for each object."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from efss_transfer.contract import storage_types
from efss_transfer.contract.schemas import schema
from reference_listings import odd_listings
from reference_webdav import field_conditions

Schema = Mapping[str, Any]
_URN: Final = re.compile(r"urn:efss-transfer:schema:\w+:(?P<name>[\w-]+)#?(?P<pointer>.*)")
_WHERE: Final = (
    "Schema: [{name}.schema.json](../../schema/{name}.schema.json), and `/schema/{name}` at a "
    "service. Members in bold are required."
)
_STORAGES: Final = (
    "The `parameters` of an [endpoint](request.md#endpoint), for each `type`. Members in bold are "
    "required. Parameters marked as secret never appear in a log or an answer.\n\n"
    "`http`, `doi` (Zenodo, Dataverse, InvenioRDM), `urls` and `ocm` can only be sources. The "
    "tests copy between real servers for WebDAV, S3, SFTP, FTP and Google Cloud Storage; for the "
    "other types they show that rclone accepts every parameter that the schema accepts, and "
    "connects only where it may.\n\n"
    "A parameter is the rclone option of the same name, but for those of `urls` and `ocm`, which "
    "the service itself reads. Of rclone's 968 options, {allowed} are allowed and {refused} "
    "refused, each with its reason, in [options.json]({options}); two more are names that occur "
    "twice. A newer rclone with an option that has no decision fails a test."
)
_OPTIONS: Final = "functions/efss_transfer/engines/rclone/rc/options.json"
_HEAD: Final = "| member | type | meaning |\n|---|---|---|"


def page(name: str) -> str:
    """The page of one schema, with its first example."""
    whole = absolute(name)
    parts = [
        f"# {whole['title']}",
        whole["description"],
        _WHERE.format(name=name),
    ]
    if whole.get("examples"):
        shown = json.dumps(whole["examples"][0], indent=2, ensure_ascii=False)
        parts.append(f"<!-- schema: {name} -->\n```json\n{shown}\n```")
    return "\n\n".join([*parts, *_SchemaPage(whole).sections()]) + "\n"


def storages() -> str:
    """The page of all storage types and their parameters."""
    whole = absolute("request")
    types = whole["$defs"]["endpoint"]["properties"]["type"]["enum"]
    parts = [
        "# Storages and their parameters",
        _introduction(),
        "\n".join(f"- [{kind}](#{slug(kind)})" for kind in types),
    ]
    for kind in types:
        described = whole["$defs"][storage_types.schema_pointer(kind).removeprefix("/$defs/")]
        walk = _SchemaPage(whole)
        parts += [f"## {kind}"]
        if text := described.get("description"):
            parts.append(text)
        parts.append(walk.table(described, kind))
        parts += walk.nested("###")
        if kind == "webdav":
            parts.append(field_conditions())
        if listings := odd_listings(kind):
            parts.append(listings)
    return "\n\n".join(parts) + "\n"


def _introduction() -> str:
    decided = json.loads((Path(__file__).parents[1] / _OPTIONS).read_text("utf-8"))
    counts = Counter(
        option["decision"]
        for backend in decided["backends"].values()
        for option in backend["options"].values()
    )
    return _STORAGES.format(
        allowed=counts["allow"], refused=counts["refuse"], options=f"../../{_OPTIONS}"
    )


@cache
def absolute(name: str) -> Schema:
    """A schema with absolute references."""
    home = schema(name)["$id"]

    def converted(one: Any) -> Any:
        if isinstance(one, dict):
            return {key: converted(value) for key, value in one.items()} | (
                {"$ref": home + one["$ref"]} if str(one.get("$ref", "")).startswith("#") else {}
            )
        return [converted(value) for value in one] if isinstance(one, list) else one

    known: Schema = converted(schema(name))
    return known


def resolved(described: Schema) -> Schema:
    """The schema without `$ref`; keywords next to a reference take precedence."""
    reference = described.get("$ref")
    if reference is None:
        return described
    found = _URN.fullmatch(reference)
    if found is None:
        raise ValueError(f"unknown schema in a reference: {reference}")
    target: Any = absolute(found["name"])
    for part in found["pointer"].split("/")[1:]:
        target = target[part.replace("~1", "/").replace("~0", "~")]
    own = {key: it for key, it in described.items() if key != "$ref"}
    return {**resolved(target), **own}


def slug(heading: str) -> str:
    """The anchor of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def cell(text: str) -> str:
    """A text escaped for a table cell."""
    return text.replace("|", "\\|").replace("\n", " ")


class _SchemaPage:
    """Collects the objects of one page, each once, in the order of their first use."""

    def __init__(self, whole: Schema) -> None:
        self._whole = whole
        self._headings: dict[str, str] = {}
        self._waiting: list[tuple[str, Schema]] = []

    def sections(self) -> Iterator[str]:
        """The tables; each but the first has a heading."""
        if "oneOf" in self._whole:
            # The events of a stream: one object for each kind.
            for one in self._whole["oneOf"]:
                self._named(one, "")
        else:
            yield self.table(self._whole, "")
        yield from self.nested("##")

    def nested(self, level: str) -> Iterator[str]:
        """The tables of the objects that those before them refer to."""
        while self._waiting:
            heading, described = self._waiting.pop(0)
            parts = [f"{level} {heading}"]
            if text := described.get("description"):
                parts.append(text)
            yield "\n\n".join([*parts, self.table(described, heading)])

    def table(self, described: Schema, path: str) -> str:
        """The table of the members of an object."""
        rows = [_HEAD]
        required = described.get("required", ())
        for name, member in described.get("properties", {}).items():
            shown = f"**`{name}`**" if name in required else f"`{name}`"
            where = name if path == "" else f"{path}.{name}"
            kind, meaning = self._type(member, where), self._meaning(member)
            rows.append(f"| {shown} | {cell(kind)} | {cell(meaning)} |")
        return "\n".join(rows)

    def _named(self, described: Schema, path: str) -> str:
        """The heading of the section of an object, which is added if it is new."""
        reference = described.get("$ref")
        key = reference or path
        if key not in self._headings:
            # The description of the object itself, not of a member that refers to it.
            full = resolved({"$ref": reference}) if reference else described
            heading = full["title"] if reference else path
            if heading in self._headings.values():
                heading = path
            self._headings[key] = heading
            self._waiting.append((heading, full))
        return self._headings[key]

    def _type(self, described: Schema, path: str) -> str:
        full = resolved(described)
        if "const" in full:
            return f"`{json.dumps(full['const'])}`"
        if full.get("items"):
            return f"array of {self._type(full['items'], path)}"
        if isinstance(full.get("additionalProperties"), dict):
            return f"object, by name: {self._type(full['additionalProperties'], path)}"
        kinds = full.get("type", "any")
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if (found := _URN.fullmatch(described.get("$ref", ""))) and not found["pointer"]:
            return f"[{full['title']}]({found['name']}.md)"
        if "properties" in full and "object" in kinds:
            heading = self._named(described, path)
            others = [kind for kind in kinds if kind != "object"]
            return " or ".join([*others, f"[{heading}](#{slug(heading)})"])
        return " or ".join(kinds)

    def _meaning(self, described: Schema) -> str:
        full = resolved(described)
        parts = [full.get("description", "")]
        values = full.get("enum") or resolved(full.get("items") or {}).get("enum")
        if values:
            parts.append("One of " + ", ".join(f"`{value}`" for value in values) + ".")
        parts += _bounds(full)
        if "default" in full:
            parts.append(f"Default: `{json.dumps(full['default'], ensure_ascii=False)}`.")
        if full.get("writeOnly"):
            parts.append("Secret.")
        return " ".join(part for part in parts if part)


def _bounds(full: Schema) -> Iterator[str]:
    for least, most, what in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minProperties", "maxProperties", " members"),
    ):
        low, high = full.get(least), full.get(most)
        if low is not None and high is not None:
            yield f"{low} to {high}{what}."
        elif low is not None:
            yield f"{low}{what} or more."
        elif high is not None:
            yield f"{high}{what} at most."
    if "exclusiveMinimum" in full:
        yield f"More than {full['exclusiveMinimum']}."
