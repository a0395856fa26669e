"""Tries the storages of a site file: reaches each, signs in, and reads, as POST /check does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from efss_transfer.cli.in_process import InProcessService
from efss_transfer.client.errors import ClientError
from efss_transfer.site.site_file import Site, SiteStorage

_DONE: Final = {"reach": "reached", "sign_in": "signed in", "read": "may read"}
_FAILED: Final = {"reach": "not reached", "sign_in": "not signed in", "read": "cannot be read"}


@dataclass(frozen=True)
class StorageOutcome:
    """What trying one storage showed: `ok`, `failed`, or `skipped`, where only callers can sign in.

    `text` never contains a secret.
    """

    name: str
    state: str
    text: str
    code: str | None = None

    def to_json(self) -> dict[str, Any]:
        """An entry of the `storages` that `site check --connect --json` prints."""
        json = {"name": self.name, "state": self.state, "detail": self.text}
        return json if self.code is None else {**json, "code": self.code}


def outcomes(site: Site, lacking: Mapping[str, str]) -> Iterator[StorageOutcome]:
    """Try the storages one by one. `lacking` has why the secrets of some are missing, by name.

    Raises NotConfigured if a setting in the environment cannot be used.
    """
    # The operator may use every storage; nobody else can call this service.
    own = InProcessService(site=replace(site, authentication={"mode": "none"}, callers=None))
    for name, storage in sorted(site.storages.items()):
        if name in lacking:
            yield StorageOutcome(name, "failed", f"not tried: {lacking[name]}", "secret")
            continue
        try:
            answer = own.check({"storage": name, "path": ""})
        except ClientError as error:
            yield _refused(storage, error)
        else:
            yield _checked(storage, answer)


def _refused(storage: SiteStorage, error: ClientError) -> StorageOutcome:
    if storage.caller_parameters and error.code == "invalid_request":
        text = f"not tried, because a request gives {_listed(storage)}"
        return StorageOutcome(storage.name, "skipped", text)
    text = " ".join(str(error).split())
    return StorageOutcome(storage.name, "failed", f"{error.code}: {text}", error.code)


def _checked(storage: SiteStorage, answer: dict[str, Any]) -> StorageOutcome:
    done = [_DONE[it["step"]] for it in answer["steps"] if it["state"] == "ok"]
    [failed] = [it for it in answer["steps"] if it["state"] == "failed"] or [None]
    if failed is None:
        return StorageOutcome(storage.name, "ok", ", ".join(done))
    code, message = failed["error"]["code"], failed["error"]["message"]
    if failed["step"] != "reach" and storage.caller_parameters:
        text = f"{', '.join(done)}; not signed in, because a request gives {_listed(storage)}"
        return StorageOutcome(storage.name, "skipped", text)
    if code == "source_not_found" and storage.use == {"destination"}:
        text = f"{', '.join(done)}; its folder does not exist yet, a copy makes it"
        return StorageOutcome(storage.name, "ok", text)
    said = [*done, f"{_FAILED[failed['step']]}: {code}: {message}"]
    return StorageOutcome(storage.name, "failed", ", ".join(said), code)


def _listed(storage: SiteStorage) -> str:
    return ", ".join(sorted(storage.caller_parameters))
