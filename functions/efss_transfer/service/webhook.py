"""Tells a receiver that a transfer has ended: one signed CloudEvent, by POST.

The event is CloudEvents 1.0 in the structured mode of its HTTP binding; the signature is that
of Standard Webhooks, an HMAC over id, time and body. It is one call of the standard library,
which a test holds to the published example: no reason for a dependency, which the package
`standardwebhooks` would be, and which before its 1.1 brought httpx and attrs along.

A receiver is reached under the same rules as storages (see posting.py).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import json
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import tenacity

from efss_transfer.backoff import Backoff, retry_after_seconds
from efss_transfer.egress import http_post
from efss_transfer.egress.rules import Egress
from efss_transfer.model.errors import ConfigurationError
from efss_transfer.model.result import Json, Notification, NotificationError, Result, rfc3339
from efss_transfer.service import logs
from efss_transfer.site.secrets import SecretReferences
from efss_transfer.site.site_file import Site

SECONDS: Final = 10.0
"""How long telling somebody may take in all, with every attempt."""
ATTEMPTS: Final = 3

_LOG: Final = logging.getLogger(__name__)
_ATTEMPT_SECONDS: Final = 4.0
_BACKOFF: Final = Backoff(first=0.3, longest=3.0, jitter=0.3)
_PREFIX: Final = "whsec_"
_KEY_BYTES: Final = range(24, 65)
# What may be different a moment later. 410 and all else that begins with 4 is an answer.
_PASSING: Final = frozenset({408, 429, *range(500, 600)})

_Code = Literal["forbidden", "unreachable", "untrusted", "rejected", "internal"]
_MESSAGES: Final[dict[_Code, str]] = {
    "forbidden": "The receiver has no address that may be reached from here.",
    "unreachable": "The receiver could not be reached, or did not answer in time.",
    "untrusted": "The receiver's certificate is not one that is trusted here.",
    "rejected": "The receiver did not accept it.",
    "internal": "The service could not send it; its log says why.",
}

Notify = Callable[[Result, float], Notification]
"""Tells of a result, within that many seconds. Never raises."""


class Notifier:
    """Tells the receivers of one site. Used from many threads."""

    def __init__(self, site: Site) -> None:
        self._secret = site.notify_secret
        self._references = SecretReferences()
        # Not what a request may reach besides, because the site has a storage there.
        self._egress = Egress(site.reach.permits, site.egress_proxy)

    def prepared(self, url: str, transfer: str) -> Notify:
        """What tells that receiver of one transfer, by the transfer's own random name.

        Raises ConfigurationError if the site's secret cannot be had or used: that is found
        before the transfer begins.
        """
        if self._secret is None:
            raise ConfigurationError("This site has no secret to sign notifications with.")
        try:
            key = signing_key(self._references.value(self._secret))
        except ConfigurationError as error:
            _LOG.error("notify.secret: %s", error)
            raise ConfigurationError(
                "What the site has set for notifications cannot be used; its operator finds why "
                "in the log."
            ) from None
        receiver = Receiver(url, key, self._egress)

        def notify(result: Result, seconds: float) -> Notification:
            return deliver(receiver, transfer, result, seconds)

        return notify


@dataclass(frozen=True)
class Receiver:
    """Whom to tell: where, signed by which key, and where connections may go."""

    url: str = field(repr=False)
    key: bytes = field(repr=False)
    egress: Egress


def signing_key(secret: str) -> bytes:
    """The key that a secret stands for. Raises ConfigurationError, without the secret."""
    try:
        if not secret.startswith(_PREFIX):
            raise ValueError
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        if len(key) not in _KEY_BYTES:
            raise ValueError
    except (ValueError, binascii.Error):
        raise ConfigurationError(
            "It must be `whsec_` and 24 to 64 bytes in base64: "
            "`echo whsec_$(openssl rand -base64 32)` makes one."
        ) from None
    return key


def signature(key: bytes, identifier: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature` (Standard Webhooks, version 1)."""
    signed = hmac.new(key, f"{identifier}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(signed.digest()).decode("ascii")


def event(transfer: str, result: Result) -> dict[str, Json]:
    """The CloudEvent that tells of a result; the files that it names are left out."""
    told: dict[str, Json] = {
        "specversion": "1.0",
        "id": transfer,
        "source": "urn:efss-transfer:service",
        "type": f"efss-transfer.transfer.{result.state.value}",
        "time": rfc3339(result.finished),
        "datacontenttype": "application/json",
        "dataschema": "urn:efss-transfer:schema:v1:result",
    }
    if result.id is not None:
        told["subject"] = result.id
    return told | {"data": replace(result, files=None, notification=None).to_json()}


def deliver(
    receiver: Receiver, transfer: str, result: Result, seconds: float = SECONDS
) -> Notification:
    """Tell a receiver of a result, within that many seconds. Never raises.

    Only what may pass by itself is tried again; the event's id stays the same, so that a
    receiver who was told twice can know it.
    """
    until = time.monotonic() + seconds
    attempts = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_before_delay(seconds),
        wait=_pause,
        retry=tenacity.retry_if_result(lambda answer: answer.passing),
        retry_error_callback=lambda state: state.outcome and state.outcome.result(),
    )
    try:
        body = json.dumps(event(transfer, result), ensure_ascii=True).encode("ascii")
        answer: _Answer = attempts(_attempted, receiver, transfer, body, until)
    except Exception as error:  # noqa: BLE001 - what was copied is copied, whatever happens here
        _LOG.error(
            "a notification could not be made: %s",
            type(error).__name__,
            extra=logs.line("defect", {"transfer": transfer, "where": logs.where(error)}),
        )
        answer = _Answer(code="internal")
    tried = int(attempts.statistics.get("attempt_number", 0))
    code = answer.code
    error_told = None if code is None else NotificationError(code, _MESSAGES[code])
    return Notification(tried, answer.status, error_told)


@dataclass(frozen=True)
class _Answer:
    """What came of one attempt; `code` is None if the receiver took it.

    `retry_after` is for how many seconds it wants to be left alone.
    """

    code: _Code | None
    status: int | None = None
    passing: bool = False
    retry_after: float = 0.0


def _pause(state: tenacity.RetryCallState) -> float:
    """Seconds until the next attempt. More than there are end it instead."""
    answer = state.outcome.result() if state.outcome else None
    wanted = answer.retry_after if isinstance(answer, _Answer) else 0.0
    return _BACKOFF.seconds(state.attempt_number, wanted)


def _attempted(receiver: Receiver, identifier: str, body: bytes, until: float) -> _Answer:
    until = min(until, time.monotonic() + _ATTEMPT_SECONDS)
    timestamp = int(time.time())
    headers = {
        "Content-Type": "application/cloudevents+json; charset=utf-8",
        "User-Agent": "efss-transfer",
        "webhook-id": identifier,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(receiver.key, identifier, timestamp, body),
    }
    try:
        status, retry_after = http_post.post(receiver.url, receiver.egress, headers, body, until)
    except http_post.PostRefused:
        return _Answer("forbidden")
    except ssl.SSLCertVerificationError:
        return _Answer("untrusted")
    except (OSError, http.client.HTTPException):
        return _Answer("unreachable", passing=True)
    if 200 <= status < 300:
        return _Answer(None, status)
    return _Answer("rejected", status, status in _PASSING, retry_after_seconds(retry_after) or 0.0)
