"""What the schema says of each type of storage, and endpoints made by it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from efss_transfer.contract.schemas import schema
from efss_transfer.model.request import Endpoint, Value

FORMS: Final = ("url", "authority", "host", "host_port", "sas_url", "service_account")
"""Forms, under `$defs`, of values that say where a connection goes: a member that has one
is a member that dials.
"""


def definition(storage: str) -> str:
    """The JSON Pointer, in the request's schema, to the parameters of a type of storage."""
    return f"/$defs/{_name(storage)}"


@cache
def members(storage: str) -> Mapping[str, Mapping[str, Any]]:
    """The parameters of a type of storage, by name, as the schema describes each."""
    described: Mapping[str, Mapping[str, Any]] = schema("request")["$defs"][_name(storage)][
        "properties"
    ]
    return described


@cache
def secrets(storage: str) -> frozenset[str]:
    """The parameters that must never be shown."""
    return frozenset(name for name, it in members(storage).items() if it.get("writeOnly"))


@cache
def dialling(storage: str) -> Mapping[str, str]:
    """The parameters that say where a connection goes, each with its form."""
    forms = {f"#/$defs/{form}": form for form in FORMS}
    return {
        name: forms[it["$ref"]] for name, it in members(storage).items() if it.get("$ref") in forms
    }


def endpoint(
    storage: str,
    parameters: Mapping[str, Value],
    path: str,
    *,
    name: str | None = None,
    fixed: frozenset[str] = frozenset(),
) -> Endpoint:
    """An endpoint of a type of storage; `name` and `fixed` if the site configured it."""
    return Endpoint(
        type=storage,
        parameters=parameters,
        path=path,
        secrets=frozenset(
            str(value) for member, value in parameters.items() if member in secrets(storage)
        ),
        dials={member: form for member, form in dialling(storage).items() if member in parameters},
        storage=name,
        fixed=fixed,
    )


def _name(storage: str) -> str:
    return storage.replace(" ", "_") + "_parameters"
