"""Storages that the site has configured, as endpoints of a request."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, Final

from efss_transfer.contract import storage_types
from efss_transfer.contract.validation import escaped, violations
from efss_transfer.model.errors import ConfigurationError, Forbidden, InvalidRequest, Violation
from efss_transfer.model.request import Endpoint, Value
from efss_transfer.site.secrets import SecretReferences
from efss_transfer.site.site_file import Caller, Site, SiteStorage

_LOG: Final = logging.getLogger(__name__)


class Storages:
    """The site's storages. One instance serves all requests, from many threads."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._references = SecretReferences()

    def endpoint(self, caller: Caller, side: str, document: Mapping[str, Any]) -> Endpoint:
        """The endpoint that one side of a request names.

        Raises Forbidden for a storage that is not this caller's to use in this way, and for
        parameters that are not the caller's to set; InvalidRequest if the whole does not fit
        the type; ConfigurationError if a secret of the site's cannot be had.
        """
        name, brought = document["storage"], document.get("parameters", {})
        storage = self._site.storages.get(name)
        if storage is None or (caller.storages is not None and name not in caller.storages):
            # One text for both: which storages there are is not everybody's business.
            raise _forbidden(side, "storage", "There is no such storage for this caller.")
        if side not in storage.use:
            raise _forbidden(side, "storage", f"This storage cannot be a {side}.")
        if foreign := sorted(set(brought) - storage.caller_parameters):
            raise Forbidden(list(_not_the_callers(side, storage, foreign)))
        fixed = self._fixed(storage)
        parameters = {**fixed, **brought}
        found, _ = violations(
            "request",
            parameters,
            part=storage_types.definition(storage.type),
            at=f"/{side}/parameters",
        )
        if any(violation.pointer.rpartition("/")[2] in fixed for violation in found):
            _LOG.error("storage %r: a secret that is referred to does not fit its type", name)
            raise _unusable()
        if found:
            raise InvalidRequest(found)
        return storage_types.endpoint(
            storage.type,
            parameters,
            _below(storage.root, document.get("path", "")),
            name=name,
            fixed=frozenset(fixed),
        )

    def _fixed(self, storage: SiteStorage) -> dict[str, Value]:
        try:
            return {
                name: self._references.value(value) if isinstance(value, Mapping) else value
                for name, value in storage.parameters.items()
            }
        except ConfigurationError as error:
            _LOG.error("storage %r: %s", storage.name, error)
            raise _unusable() from None


def _below(root: str, path: str) -> str:
    """A path within a root; an absolute one too. The schema lets no `..` through."""
    if not root:
        return path.lstrip("/")
    return posixpath.join(root, path.lstrip("/"))


def _not_the_callers(side: str, storage: SiteStorage, names: list[str]) -> Iterator[Violation]:
    allowed = ", ".join(sorted(storage.caller_parameters)) or "none"
    for name in names:
        pointer = f"/{side}/parameters/{escaped(name)}"
        yield Violation(pointer, "policy", f"The site sets this; a request may add: {allowed}.")


def _forbidden(side: str, member: str, text: str) -> Forbidden:
    return Forbidden([Violation(f"/{side}/{member}", "policy", text)])


def _unusable() -> ConfigurationError:
    return ConfigurationError(
        "What the site has set for this storage cannot be used; its operator finds why in the log."
    )
