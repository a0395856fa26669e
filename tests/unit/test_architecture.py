"""The shape of the code, as design.md draws it: who may import whom, and who owns what.

Read from the source and not from what is loaded, so that an import within a function
counts as well.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

FUNCTIONS = Path(__file__).parents[2] / "functions"
OURS = "efss_transfer"
RCLONE = "efss_transfer.engines.rclone"

# What a module may import stands in a lower layer, or in its own where that says so. A new
# module is given its place here, by whoever adds it.
LAYERS = {
    "main": 8,
    "lambda_handler": 8,
    "function_app": 8,
    "knative_func": 8,
    "nuclio_handler": 8,
    "openwhisk_action": 8,
    "efss_transfer.function": 7,
    "efss_transfer.app": 6,
    "efss_transfer.asgi": 7,
    "efss_transfer.aws_lambda": 7,
    "efss_transfer.aws_events": 5,
    "efss_transfer.nuclio": 5,
    "efss_transfer.openwhisk": 7,
    "efss_transfer.whole": 6,
    "efss_transfer.service": 5,
    "efss_transfer.answers": 4,
    "efss_transfer.caller": 2,
    "efss_transfer.delivery": 3,
    "efss_transfer.request": 3,
    "efss_transfer.policy": 3,
    "efss_transfer.preparation": 3,
    "efss_transfer.notify": 3,
    "efss_transfer.posting": 2,
    "efss_transfer.planning": 4,
    "efss_transfer.runner": 4,
    "efss_transfer.listing": 2,
    "efss_transfer.engines.rclone": 2,
    "efss_transfer.engines.rclone.engine": 2,
    "efss_transfer.engines.rclone.account": 2,
    "efss_transfer.engines.rclone.allowed": 2,
    "efss_transfer.engines.rclone.binary": 2,
    "efss_transfer.engines.rclone.cleaning": 2,
    "efss_transfer.engines.rclone.daemon": 2,
    "efss_transfer.engines.rclone.landlock": 2,
    "efss_transfer.engines.rclone.sandbox": 2,
    "efss_transfer.engines.rclone.socket_http": 2,
    "efss_transfer.engines.rclone.seccomp": 2,
    "efss_transfer.engines.rclone.outward": 2,
    "efss_transfer.engines.rclone.rc": 2,
    "efss_transfer.engines.rclone.allowance": 2,
    "efss_transfer.engines.rclone.bench": 2,
    "efss_transfer.engines.rclone.listed": 2,
    "efss_transfer.engines.rclone.remnants": 2,
    "efss_transfer.engines.rclone.ledger": 2,
    "efss_transfer.engines.rclone.told": 2,
    "efss_transfer.engines.rclone.standby": 2,
    "efss_transfer.engines.rclone.tuning": 2,
    "efss_transfer.engines.rclone.scouting": 2,
    "efss_transfer.engines.rclone.ranges": 2,
    "efss_transfer.engines.rclone.log": 2,
    "efss_transfer.engines.rclone.looks": 2,
    "efss_transfer.engines.rclone.orders": 2,
    "efss_transfer.engines.rclone.patience": 2,
    "efss_transfer.engines.rclone.shards": 2,
    "efss_transfer.engines.rclone.survey": 2,
    "efss_transfer.engines.rclone.verification": 2,
    "efss_transfer.engines.rclone.failures": 2,
    "efss_transfer.engines.rclone.reading": 2,
    "efss_transfer.engines.rclone.remotes": 2,
    "efss_transfer.engines.rclone.report": 2,
    "efss_transfer.engines.rclone.transfer": 2,
    "efss_transfer.authentication": 2,
    "efss_transfer.oidc": 2,
    "efss_transfer.addresses": 0,
    "efss_transfer.references": 1,
    "efss_transfer.reach": 2,
    "efss_transfer.site": 2,
    "efss_transfer.storages": 3,
    "efss_transfer.places": 2,
    "efss_transfer.capacity": 1,
    "efss_transfer.logs": 1,
    "efss_transfer.metrics": 1,
    "efss_transfer.page": 1,
    "efss_transfer.problems": 1,
    "efss_transfer.illustrations": 2,
    "efss_transfer.openapi": 2,
    "efss_transfer.openapi_schemas": 2,
    "efss_transfer.admission": 3,
    "efss_transfer.cli_plan": 8,
    "efss_transfer.cli": 9,
    "efss_transfer.cli_copy": 8,
    "efss_transfer.cli_request": 8,
    "efss_transfer.cli_serve": 8,
    "efss_transfer.cli_site": 8,
    "efss_transfer.cli_service": 7,
    "efss_transfer.cli_options": 6,
    "efss_transfer.cli_types": 5,
    "efss_transfer.cli_merge": 8,
    "efss_transfer.summary": 5,
    "efss_transfer.display": 4,
    "efss_transfer.local": 6,
    "efss_transfer.client": 4,
    "efss_transfer.completion": 3,
    "efss_transfer.transport": 3,
    "efss_transfer.exit_codes": 3,
    "efss_transfer.user_endpoints": 3,
    "efss_transfer.decoding": 2,
    "efss_transfer.merging": 1,
    "efss_transfer.gathering": 2,
    "efss_transfer.fan_out": 4,
    "efss_transfer.side_by_side": 4,
    "efss_transfer.client_errors": 1,
    "efss_transfer.interruption": 0,
    "efss_transfer.engines": 1,
    "efss_transfer.engines.base": 1,
    "efss_transfer.endpoints": 2,
    "efss_transfer.validation": 1,
    "efss_transfer.egress": 2,
    "efss_transfer": 0,
    "efss_transfer.machine": 0,
    "efss_transfer.dialling": 0,
    "efss_transfer.loops": 1,
    "efss_transfer.relay": 0,
    "efss_transfer.socks": 0,
    "efss_transfer.errors": 0,
    "efss_transfer.events": 0,
    "efss_transfer.result": 0,
    "efss_transfer.schemas": 0,
    "efss_transfer.settings": 0,
}
AMONG_THEMSELVES = {0, 2, 4}

# Each library has one owner, and main.py is nothing but an entry point.
OWNERS = {
    "flask": {"efss_transfer.app", "efss_transfer.function"},
    "werkzeug": {"efss_transfer.app"},
    "functions_framework": {"efss_transfer.function"},
    "azure": {"function_app"},
    "jsonschema": {"efss_transfer.validation"},
    "idna": {"efss_transfer.addresses"},
    "boto3": {"efss_transfer.references"},
    "prometheus_client": {"efss_transfer.metrics"},
    "tenacity": {
        "efss_transfer.completion",
        "efss_transfer.engines.rclone.patience",
        "efss_transfer.notify",
    },
    "click": {
        "efss_transfer.cli",
        "efss_transfer.cli_copy",
        "efss_transfer.cli_merge",
        "efss_transfer.cli_options",
        "efss_transfer.cli_request",
        "efss_transfer.cli_serve",
        "efss_transfer.cli_service",
        "efss_transfer.cli_site",
        "efss_transfer.cli_types",
        "efss_transfer.cli_plan",
    },
    "rich": {"efss_transfer.display", "efss_transfer.summary"},
    "referencing": {"efss_transfer.validation"},
    "subprocess": {"efss_transfer.engines.rclone.daemon"},
    "jwt": {"efss_transfer.authentication"},
    "requests": {
        "efss_transfer.client",
        "efss_transfer.oidc",
        "efss_transfer.transport",
    },
    "urllib3": {"efss_transfer.engines.rclone.socket_http", "efss_transfer.transport"},
}
NAMES_THAT_SAY_NOTHING = {"util", "utils", "helper", "helpers", "manager", "managers", "common"}


@cache
def modules() -> dict[str, Path]:
    """Every module below functions/, by its dotted name."""
    found = {}
    for file in sorted(FUNCTIONS.rglob("*.py")):
        parts = file.relative_to(FUNCTIONS).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


@cache
def imports(module: str) -> tuple[tuple[str, str], ...]:
    """What a module imports: from which module, and which name of it, if one."""
    return tuple(_imports(module, ast.parse(modules()[module].read_text("utf-8"))))


def _imports(module: str, tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, ""
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively, which this test cannot read"
            for name in node.names:
                origin = str(node.module)
                if f"{origin}.{name.name}" in modules():
                    yield f"{origin}.{name.name}", ""
                else:
                    yield origin, name.name


def of_ours(module: str) -> set[str]:
    """The modules of ours that a module imports."""
    found = {origin for origin, _ in imports(module) if origin.partition(".")[0] == OURS}
    assert found <= modules().keys(), f"{module} imports what there is not"
    return found


@pytest.mark.parametrize("module", modules())
def test_every_module_has_a_place(module: str) -> None:
    assert module in LAYERS, f"give {module} its place in LAYERS"


def test_no_place_is_kept_for_a_module_that_is_gone() -> None:
    assert LAYERS.keys() <= modules().keys()
    assert {owner for owners in OWNERS.values() for owner in owners} <= modules().keys()


@pytest.mark.parametrize("module", modules())
def test_imports_point_one_way(module: str) -> None:
    mine = LAYERS[module]
    for other in of_ours(module):
        below = LAYERS[other] < mine
        beside = LAYERS[other] == mine and mine in AMONG_THEMSELVES
        assert below or beside, f"{module} imports {other}"


def test_no_module_needs_itself_in_the_end() -> None:
    # static_order raises CycleError, which names the modules of a circle.
    order = list(
        TopologicalSorter({module: of_ours(module) for module in modules()}).static_order()
    )
    assert set(order) == modules().keys()


@pytest.mark.parametrize("library", OWNERS)
def test_a_library_has_one_owner(library: str) -> None:
    importers = {
        module
        for module in modules()
        if any(origin.partition(".")[0] == library for origin, _ in imports(module))
    }
    assert importers == OWNERS[library]


def test_nothing_of_rclones_is_known_outside_its_engine() -> None:
    known = {
        (module, origin, name)
        for module in modules()
        if not f"{module}.".startswith(f"{RCLONE}.")
        for origin, name in imports(module)
        if f"{origin}.".startswith(f"{RCLONE}.")
    }
    assert known == {
        ("efss_transfer.service", f"{RCLONE}.engine", "RcloneEngine"),
        # Before anything else is imported, so not by way of the engine.
        ("efss_transfer.preparation", f"{RCLONE}.binary", "begin_hashing"),
        ("efss_transfer.preparation", f"{RCLONE}.binary", "find_binary"),
    }


@pytest.mark.parametrize("module", modules())
def test_a_module_is_named_after_what_it_does(module: str) -> None:
    assert not NAMES_THAT_SAY_NOTHING & set(module.split("."))


@pytest.mark.parametrize("module", modules())
def test_a_module_says_what_it_is_for(module: str) -> None:
    assert ast.get_docstring(ast.parse(modules()[module].read_text("utf-8")))
