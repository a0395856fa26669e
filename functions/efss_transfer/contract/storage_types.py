"""The schema's description of each storage type, and endpoints built from it.

Facts about a type that the schema does not describe are in model/storage_traits.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from efss_transfer.contract.schemas import schema
from efss_transfer.model.request import Endpoint, Value

TARGET_FORMS: Final = ("url", "authority", "host", "host_port", "sas_url", "service_account")
"""Schema definitions, under `$defs`, of values that say where a connection goes."""


def schema_pointer(storage_type: str) -> str:
    """The JSON Pointer, in the request schema, to a storage type's parameters."""
    return f"/$defs/{_definition(storage_type)}"


@cache
def parameters(storage_type: str) -> Mapping[str, Mapping[str, Any]]:
    """A storage type's parameters by name, each with its schema."""
    described: Mapping[str, Mapping[str, Any]] = schema("request")["$defs"][
        _definition(storage_type)
    ]["properties"]
    return described


@cache
def secret_parameters(storage_type: str) -> frozenset[str]:
    """The parameters whose values must never be shown."""
    return frozenset(name for name, it in parameters(storage_type).items() if it.get("writeOnly"))


@cache
def target_parameters(storage_type: str) -> Mapping[str, str]:
    """The parameters that say where a connection goes, each with its form."""
    forms = {f"#/$defs/{form}": form for form in TARGET_FORMS}
    return {
        name: forms[it["$ref"]]
        for name, it in parameters(storage_type).items()
        if it.get("$ref") in forms
    }


def make_endpoint(
    storage_type: str,
    values: Mapping[str, Value],
    path: str,
    *,
    storage: str | None = None,
    site_parameters: frozenset[str] = frozenset(),
) -> Endpoint:
    """Build an endpoint from parameter values that fit the schema.

    `storage` and `site_parameters` are given for a storage from the site file.
    """
    secret = secret_parameters(storage_type)
    return Endpoint(
        type=storage_type,
        parameters=values,
        path=path,
        secrets=frozenset(str(value) for name, value in values.items() if name in secret),
        target_forms={
            name: form for name, form in target_parameters(storage_type).items() if name in values
        },
        storage=storage,
        site_parameters=site_parameters,
    )


def _definition(storage_type: str) -> str:
    return storage_type.replace(" ", "_") + "_parameters"
