"""Describe the endpoints of a file to a person or a program, without a secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from efss_transfer.contract import storage_types


def described(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an endpoint's name, type, address, folder, and where each secret is read from."""
    parameters: Mapping[str, Any] = entry.get("parameters", {})
    found = {"name": name, **{it: entry[it] for it in ("type", "storage") if it in entry}}
    vendor = parameters.get("vendor") or parameters.get("provider")
    if isinstance(vendor, str):
        found["product"] = vendor
    if (address := _address(entry.get("type"), parameters)) is not None:
        found["address"] = address
    if entry.get("path"):
        found["path"] = entry["path"]
    found["secrets"] = [
        {"parameter": parameter, **_source(value)}
        for parameter, value in parameters.items()
        if isinstance(value, Mapping) or parameter in _secret_names(entry.get("type"))
    ]
    return found


def rows(found: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a table with a line for each endpoint."""
    table = [("NAME", "TYPE", "ADDRESS", "SECRETS")]
    for one in found:
        kind = f"storage {one['storage']}" if "storage" in one else str(one["type"])
        product = f" ({one['product']})" if "product" in one else ""
        folder = f" {one['path']}" if "path" in one else ""
        address = f"{one.get('address', '')}{folder}".strip() or "-"
        secrets = ", ".join(map(_words, one["secrets"])) or "none"
        table.append((one["name"], kind + product, address, secrets))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def _words(secret: Mapping[str, str]) -> str:
    if secret["from"] == "endpoints file":
        return f"{secret['parameter']}: in the file"
    return f"{secret['parameter']}: {secret['from']} {secret['reference']}"


def _source(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {"from": "endpoints file"}
    ((kind, reference),) = value.items()
    return {"from": kind, "reference": str(reference)}


def _address(storage_type: str | None, parameters: Mapping[str, Any]) -> str | None:
    if storage_type is None:
        return None
    for name in storage_types.target_parameters(storage_type):
        value = parameters.get(name)
        if isinstance(value, str) and name not in _secret_names(storage_type):
            port = parameters.get("port")
            return value if port is None else f"{value}:{port}"
    return None


def _secret_names(storage_type: str | None) -> frozenset[str]:
    return frozenset() if storage_type is None else storage_types.secret_parameters(storage_type)
