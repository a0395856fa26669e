"""Says why a site does not let an engine copy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from efss_transfer.engines.base import Engine
from efss_transfer.model.errors import Violation
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
