"""Builds a request's endpoints from storages that the site file configures."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, Final

from efss_transfer.contract import storage_types
from efss_transfer.contract.validation import escape_token, violations
from efss_transfer.model.errors import ConfigurationError, Forbidden, InvalidRequest, Violation
from efss_transfer.model.request import Endpoint, Value
from efss_transfer.model.suggestions import did_you_mean
from efss_transfer.site.secrets import SecretResolver
from efss_transfer.site.site_file import Caller, Site, SiteStorage

_LOG: Final = logging.getLogger(__name__)


class Storages:
    """The site's storages. One instance serves all requests, from many threads."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._secrets = SecretResolver()

    def endpoint(
        self,
        caller: Caller,
        side: str,
        document: Mapping[str, Any],
        *,
        uses: tuple[str, ...] = (),
    ) -> Endpoint:
        """Build the endpoint for one side of a request.

        `uses` are the sides that the storage may be, of which one is enough; `side` if omitted.
        Raises Forbidden for a storage that the caller may not use this way, and for parameters
        that a request may not set; InvalidRequest if the parameters together do not fit the
        type; ConfigurationError if one of the site's secrets cannot be resolved.
        """
        name, given = document["storage"], document.get("parameters", {})
        storage = self._site.storages.get(name)
        if storage is None or (caller.storages is not None and name not in caller.storages):
            # The same text for both, so that callers cannot find out which storages exist.
            meant = did_you_mean(name, self._usable(caller, uses or (side,)))
            raise _forbidden(side, f"This caller has no storage of this name.{meant}")
        if not storage.use & set(uses or (side,)):
            raise _forbidden(side, f"This storage cannot be a {(uses or (side,))[0]}.")
        if not_allowed := sorted(set(given) - storage.caller_parameters):
            raise Forbidden(list(_not_callers(side, storage, not_allowed)))
        fixed = self._site_parameters(storage)
        parameters = {**fixed, **given}
        found, _ = violations(
            "request",
            parameters,
            part=storage_types.schema_pointer(storage.type),
            at=f"/{side}/parameters",
        )
        if any(violation.pointer.rpartition("/")[2] in fixed for violation in found):
            _LOG.error("storage %r: a secret's value does not fit the storage type's schema", name)
            raise _misconfigured()
        if found:
            raise InvalidRequest(found)
        return storage_types.make_endpoint(
            storage.type,
            parameters,
            _below(storage.root, document.get("path", "")),
            storage=name,
            site_parameters=frozenset(fixed),
        )

    def usable_by(self, caller: Caller) -> list[SiteStorage]:
        """The storages that a caller may use, by name."""
        names = self._usable(caller, ("source", "destination"))
        return [self._site.storages[name] for name in sorted(names)]

    def _usable(self, caller: Caller, uses: tuple[str, ...]) -> list[str]:
        return [
            name
            for name, storage in self._site.storages.items()
            if storage.use & set(uses) and (caller.storages is None or name in caller.storages)
        ]

    def _site_parameters(self, storage: SiteStorage) -> dict[str, Value]:
        try:
            return {
                name: self._secrets.resolve(value) if isinstance(value, Mapping) else value
                for name, value in storage.parameters.items()
            }
        except ConfigurationError as error:
            _LOG.error("storage %r: %s", storage.name, error)
            raise _misconfigured() from None


def _below(root: str, path: str) -> str:
    """Join a path to the root, even an absolute one. The schema has refused every `..`."""
    if not root:
        return path.lstrip("/")
    return posixpath.join(root, path.lstrip("/"))


def _not_callers(side: str, storage: SiteStorage, names: list[str]) -> Iterator[Violation]:
    allowed = ", ".join(sorted(storage.caller_parameters)) or "none"
    for name in names:
        pointer = f"/{side}/parameters/{escape_token(name)}"
        text = f"The site sets this storage's parameters; a request may set: {allowed}."
        yield Violation(pointer, "policy", text)


def _forbidden(side: str, text: str) -> Forbidden:
    return Forbidden([Violation(f"/{side}/storage", "policy", text)])


def _misconfigured() -> ConfigurationError:
    return ConfigurationError(
        "This storage is misconfigured on the server; the server log has the details."
    )
