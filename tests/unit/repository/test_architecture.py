"""The rooms of the code, as docs/design.md draws them: which may import which, and who owns what.

Imports are read from the source and not from loaded modules, so that an import within a
function counts as well.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

FUNCTIONS = Path(__file__).parents[3] / "functions"
OURS = "efss_transfer"
RCLONE = "engines.rclone"
THIRD_PARTY = "engines.third_party"
TPC = "engines.tpc"
FTS = "engines.fts"

# Which rooms each room may import, besides itself. `engines` is its files and not its folders.
ROOMS = {
    "model": set[str](),
    "backoff": set[str](),
    "contract": {"model"},
    "config": {"model"},
    "egress": {"model", "config"},
    "client": {"model", "contract", "backoff"},
    "webdav": {"model", "config", "egress", "backoff"},
    "served": {"webdav"},
    "engines": {"model", "config", "egress", "backoff", "webdav"},
    RCLONE: {"model", "config", "egress", "backoff", "webdav", "served", "engines"},
    THIRD_PARTY: {"model", "config", "egress", "webdav", "engines"},
    TPC: {"model", "config", "egress", "webdav", "engines", THIRD_PARTY},
    FTS: {"model", "config", "egress", "webdav", "engines", THIRD_PARTY},
    "site": {"model", "contract", "config", "egress", "engines"},
    "auth": {"model", "contract", "config", "egress", "site"},
    "service": {
        *("model", "backoff", "contract", "config", "egress"),
        *("engines", "site", "auth"),
    },
    "runtimes": {"model", "contract", "config", "service"},
    "runtimes.aws": {"model", "contract", "config", "service", "runtimes", "client", "engines"},
    "cli": {"model", "contract", "config", "egress", "client", "site", "auth"},
    "aws_lambda": {"runtimes.aws"},
}
# Inside rclone, `transfer` and `process` never meet.
RCLONE_ROOMS = {
    "log": set[str](),
    "rc": {"log"},
    "process": {"rc", "log"},
    "ftp": {"rc", "log"},
    "http_index": {"ftp", "rc", "log"},
    "transfer": {"ftp", "http_index", "rc", "log"},
    "browse": {"transfer", "ftp", "http_index", "rc", "log"},
    "report": {"transfer"},
    "outcome": {"report", "transfer", "rc", "log"},
    "gateways": {"process", "rc"},
    "session": {"gateways", "outcome", "transfer", "ftp", "process", "rc", "log"},
    "engine": {"session", "transfer", "browse", "process"},
}
# What a single module may import beyond its room's rule.
EXCEPTIONS = {
    "site.storages": {"engines.base"},
    "site.policy": {"engines.base"},
    "site.engine_rules": {"engines.base"},
    "runtimes.aws.warmup": {"engines.registry"},
    "cli.in_process": {"service"},
    "cli.operator.server_checks": {"engines.base", "engines.registry"},
    "engines.registry": {RCLONE, TPC, FTS},
}
# The only module of `engines` that a room above may import, where it is not named above.
ENGINES_FROM_ABOVE = {
    "site": {"base"},
    "service": {"base", "registry"},
    "runtimes.aws": {"registry"},
}

# Each library has one owner: a module, or all of a room.
OWNERS = {
    "flask": {"runtimes.flask"},
    "werkzeug": {"runtimes.flask"},
    "functions_framework": {"runtimes.flask"},
    "gunicorn": {"runtimes.flask"},
    "jsonschema": {"contract.validation"},
    "referencing": {"contract.validation"},
    "idna": {"model.targets"},
    "httptools": {"webdav.http.messages"},
    "boto3": {"site.secrets"},
    "prometheus_client": {"service.metrics"},
    "tenacity": {"service.webhook"},
    "click": {"cli"},
    "rich": {"cli.progress", "cli.summary"},
    # The command runs what prints a user's secret.
    "subprocess": {"engines.rclone.process.daemon", "cli.inputs"},
    "jwt": {"auth.authentication"},
    "requests": {"auth.oidc", "client.client", "client.transport"},
    "urllib3": {"client.transport"},
}
NAMES_THAT_SAY_NOTHING = {"util", "utils", "helper", "helpers", "manager", "managers", "common"}
MOST_FILES = 17
MOST_LINES = 300
MOST_LINES_OF_A_FUNCTION = 60
LONGER_FUNCTIONS: dict[str, int] = {}
# What is longer, and why.
LONGER: dict[str, tuple[int, str]] = {}


@cache
def modules() -> dict[str, Path]:
    """Every module below functions/efss_transfer, by its name without the package's own."""
    found = {}
    for file in sorted((FUNCTIONS / OURS).rglob("*.py")):
        parts = file.relative_to(FUNCTIONS / OURS).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


@cache
def imports(module: str) -> tuple[str, ...]:
    """What a module imports, by full names: of a module where there is one, else of its origin."""
    return tuple(_imports(module, ast.parse(modules()[module].read_text("utf-8"))))


def _imports(module: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively, which this test cannot read"
            for name in node.names:
                full = f"{node.module}.{name.name}"
                yield full if full.removeprefix(f"{OURS}.") in modules() else str(node.module)


def of_ours(module: str) -> set[str]:
    """The modules of ours that a module imports, but for the package itself."""
    found = {
        name.removeprefix(f"{OURS}.")
        for name in imports(module)
        if name.partition(".")[0] == OURS and name != OURS
    }
    assert found <= modules().keys(), f"{module} imports {found - modules().keys()}"
    return found


def room(module: str) -> str:
    """The room that a module is in: the longest name in ROOMS that begins its own."""
    return max((name for name in ROOMS if _is_in(module, name)), key=len, default="")


def _is_in(module: str, name: str) -> bool:
    return f"{module}.".startswith(f"{name}.")


def test_a_module_imports_only_what_its_room_may() -> None:
    assert not [module for module in modules() if module and not room(module)]
    assert not [
        f"{module} (in {room(module)}) imports {other} (in {room(other)})"
        for module in filter(None, modules())
        for other in of_ours(module)
        if not _may_import(module, room(module), other)
    ]


def _may_import(module: str, mine: str, other: str) -> bool:
    theirs = room(other)
    if any(_is_in(other, one) for one in EXCEPTIONS.get(module, ())):
        return True
    if theirs == "engines" and theirs != mine and mine in ENGINES_FROM_ABOVE:
        return other.removeprefix("engines.") in ENGINES_FROM_ABOVE[mine]
    return theirs == mine or theirs in ROOMS[mine]


def test_inside_rclone_the_rooms_keep_their_order() -> None:
    def inner(name: str) -> str:
        return name.removeprefix(RCLONE).removeprefix(".").partition(".")[0]

    wrong = [
        f"{module} imports {other}"
        for module in modules()
        if _is_in(module, RCLONE)
        for other in of_ours(module)
        if _is_in(other, RCLONE)
        and inner(other) != inner(module)
        and inner(other) not in RCLONE_ROOMS[inner(module)]
    ]
    assert not wrong


def test_no_rule_is_kept_for_a_room_or_module_that_is_gone() -> None:
    named = {*ROOMS, *EXCEPTIONS, *LONGER}
    named |= {owner for owners in OWNERS.values() for owner in owners}
    named |= {f"{RCLONE}.{name}" for name in RCLONE_ROOMS}
    assert named <= modules().keys()


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
        if any(name.partition(".")[0] == library for name in imports(module))
    }
    assert importers
    for module in importers:
        assert any(_is_in(module, owner) for owner in OWNERS[library]), module
    for owner in OWNERS[library]:
        assert any(_is_in(module, owner) for module in importers), f"{owner} does not import it"


def test_only_the_registry_names_an_engine() -> None:
    known = {
        module
        for module in modules()
        if not _is_in(module, RCLONE) and any(_is_in(one, RCLONE) for one in of_ours(module))
    }
    assert known == {"engines.registry"}


def test_a_package_imports_nothing_when_it_is_imported() -> None:
    eager = [
        package
        for package, file in modules().items()
        if file.name == "__init__.py"
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith(OURS)
    ]
    assert not eager


def test_a_folder_has_no_more_files_than_a_reader_takes_in() -> None:
    full = {
        folder.name: len(files)
        for folder in {file.parent for file in modules().values()}
        if len(files := [file for file in folder.glob("*.py") if file.stem != "__init__"])
        > MOST_FILES
    }
    assert not full


def test_a_module_has_no_more_lines_than_one_purpose_needs() -> None:
    long = {
        module: lines
        for module, file in modules().items()
        if (lines := len(file.read_text("utf-8").splitlines()))
        > LONGER.get(module, (MOST_LINES, ""))[0]
    }
    assert not long


def test_a_function_fits_on_a_screen() -> None:
    long = {
        f"{module}.{node.name}": lines
        for module, file in modules().items()
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1)
        > LONGER_FUNCTIONS.get(f"{module}.{node.name}", MOST_LINES_OF_A_FUNCTION)
    }
    assert not long


def test_a_module_is_named_after_what_it_does() -> None:
    assert not [module for module in modules() if NAMES_THAT_SAY_NOTHING & {*module.split(".")}]


def test_a_module_says_what_it_is_for() -> None:
    assert not [
        module
        for module, file in modules().items()
        if not ast.get_docstring(ast.parse(file.read_text("utf-8")))
    ]


def test_no_class_name_stands_twice() -> None:
    names: dict[str, list[str]] = {}
    for module, file in modules().items():
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                names.setdefault(node.name, []).append(module)
    # The client raises what the service reports, under the same names.
    mirrored = ["client.errors", "model.errors"]
    assert not {
        name: found for name, found in names.items() if len(found) > 1 and found != mirrored
    }
