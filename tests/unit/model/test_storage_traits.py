"""The table of storage traits agrees with the schema's types and parameters."""

from __future__ import annotations

from efss_transfer.contract import storage_types
from efss_transfer.contract.schemas import schema
from efss_transfer.model.storage_traits import (
    _TRAITS,
    MOST_PARALLEL_FILES,
    StorageTraits,
    parallel_files,
    traits,
)
from efss_transfer.model.targets import canonical_host

TYPES = set(schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"])


def test_table_has_only_types_of_the_schema() -> None:
    assert set(_TRAITS) <= TYPES


def test_schema_asks_for_a_bucket_where_the_table_has_buckets() -> None:
    asks = schema("request")["properties"]["destination"]["else"]["if"]["properties"]["type"][
        "enum"
    ]
    assert set(asks) == {name for name in TYPES if traits(name).has_buckets}


def test_identity_names_parameters_of_the_type() -> None:
    unknown = {
        name: missing
        for name, it in _TRAITS.items()
        if (missing := set(it.identity or ()) - set(storage_types.parameters(name)))
    }
    assert unknown == {}


def test_service_hosts_are_in_canonical_form() -> None:
    hosts = [it.service_host for it in _TRAITS.values() if it.service_host]
    assert hosts
    assert [host for host in hosts if canonical_host(host) != host] == []


def test_unlisted_type_has_default_traits() -> None:
    assert traits("no such type") == StorageTraits()


def test_vendor_with_few_workers_limits_parallel_files() -> None:
    assert parallel_files("webdav") == MOST_PARALLEL_FILES
    assert [parallel_files("webdav", it) for it in ("nextcloud", "owncloud")] == [16, 16]
    assert parallel_files("webdav", "other") == parallel_files("webdav")
    assert parallel_files("dropbox") is None
