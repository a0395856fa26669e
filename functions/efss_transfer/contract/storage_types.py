"""The schema's description of each storage type, and endpoints built from it.

Facts about a type that the schema does not describe are in model/storage_traits.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

from efss_transfer.contract.schemas import schema
from efss_transfer.model.request import Endpoint, Items, Value

TARGET_FORMS: Final = (
    "url",
    "authority",
    "host",
    "host_port",
    "sas_url",
    "file_url",
    "ocm_address",
    "ocm_uri",
    "service_account",
)
"""Schema definitions, under `$defs`, of values that say where a connection goes."""

_SECRETS_OF_A_HOST: Final = ("pass", "bearer_token", "authorization")


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
    values: Mapping[str, Value | Items | Sequence[str]],
    path: str,
    *,
    storage: str | None = None,
    site_parameters: frozenset[str] = frozenset(),
) -> Endpoint:
    """Build an endpoint from parameter values that fit the schema.

    A list of words becomes one text, with spaces between them. `storage` and `site_parameters`
    are given for a storage from the site file.
    """
    secret = secret_parameters(storage_type)
    parameters: dict[str, Value] = {}
    lists: dict[str, Items] = {}
    for name, value in values.items():
        if isinstance(value, Value):
            parameters[name] = value
        elif words := [it for it in value if isinstance(it, str)]:
            parameters[name] = " ".join(words)
        else:
            lists[name] = [it for it in value if not isinstance(it, str)]
    return Endpoint(
        type=storage_type,
        parameters=parameters,
        path=path,
        secrets=frozenset(
            (
                *(str(value) for name, value in parameters.items() if name in secret),
                *(text for name, items in lists.items() for text in _secrets_in(name, items)),
            )
        ),
        target_forms={
            name: form for name, form in target_parameters(storage_type).items() if name in values
        },
        storage=storage,
        site_parameters=site_parameters,
        lists=lists,
    )


def _secrets_in(name: str, items: Items) -> Iterator[str]:
    """The secret values in a parameter that is a list of objects."""
    if name == "credentials":
        for item in items:
            yield from (str(item[one]) for one in _SECRETS_OF_A_HOST if one in item)


def _definition(storage_type: str) -> str:
    return storage_type.replace(" ", "_") + "_parameters"
