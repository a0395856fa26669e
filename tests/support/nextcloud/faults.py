"""Nextcloud's own refusals as faults."""

from __future__ import annotations

from support.nextcloud.errors import DavError
from support.stand_in.faults import Fault, Kind


def error(refusal: DavError, *, carried_out: bool = False, **headers: str) -> Fault:
    """One of Nextcloud's own refusals (`support.nextcloud.errors`)."""
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Fault(
        Kind.ANSWER,
        refusal.status,
        refusal.body(),
        (("Content-Type", "application/xml; charset=utf-8"), *refusal.headers, *named),
        carried_out=carried_out,
    )
