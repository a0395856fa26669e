"""Says why a site does not let an engine copy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from efss_transfer.engines.base import Engine
from efss_transfer.model.errors import UnsupportedByEngine, Violation
from efss_transfer.model.request import TransferRequest
from efss_transfer.site.site_file import Site


def check_engine(
    engine: Engine, site: Site, hosts: Iterable[tuple[str, str]]
) -> Iterator[Violation]:
    """Yield why the engine may not run. `hosts` are those that the caller names, each with the
    JSON Pointer of the member that names it.

    Of a third-party copy the site must allow the hosts by name: the storages connect to each
    other, and the guard sees none of that.
    """
    if engine.name not in site.engines:
        yield Violation(
            "/engine",
            "policy",
            "This site has not switched this engine on: its operator must name it in `engines` of "
            "the site file.",
        )
    if not engine.is_third_party:
        return
    if site.egress_proxy is not None:
        yield Violation(
            "/engine", "policy", "This engine cannot use the proxy that this site requires."
        )
    for pointer, host in hosts:
        if not site.egress_rules.names(host):
            yield Violation(
                pointer,
                "policy",
                "The storages of this engine copy between themselves, past this service's guard, "
                "so the site file must list this host in `allow.hosts`.",
            )


def refuse_detach(request: TransferRequest, engine: Engine, offered: Mapping[str, Engine]) -> None:
    """Refuse a request to detach of an engine that cannot. `offered` are the site's engines, by
    their names. Raises UnsupportedByEngine.
    """
    if not request.options.detach or engine.can_detach:
        return
    able = " or ".join(f"`{name}`" for name, it in sorted(offered.items()) if it.can_detach)
    instead = f", or choose an `engine` that can: {able}" if able else ""
    raise UnsupportedByEngine(
        f"The engine `{engine.name}` cannot do what is asked for: `options.detach` (its copy ends "
        f"with this request). Leave that out{instead}."
    )
