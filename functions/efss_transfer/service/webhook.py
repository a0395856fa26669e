"""Notifies a receiver that a transfer has ended: one signed CloudEvent, sent by POST.

The event is CloudEvents 1.0 in the structured mode of its HTTP binding. The signature follows
Standard Webhooks: an HMAC over identifier, time and body, which a test checks against the
published example. The standard library computes it in one call; the package `standardwebhooks`
would add a dependency, and before its version 1.1 also httpx and attrs.

A receiver is reached under the same network rules as a storage (see egress/http_post.py).
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
from efss_transfer.model.notification import Notification, NotificationError
from efss_transfer.model.result import Json, Result, rfc3339
from efss_transfer.service import logs
from efss_transfer.site.secrets import SecretResolver
from efss_transfer.site.site_file import Site

SECONDS: Final = 10.0
"""Maximum time for a notification, all attempts included."""
ATTEMPTS: Final = 3

_LOG: Final = logging.getLogger(__name__)
_ATTEMPT_SECONDS: Final = 4.0
_BACKOFF: Final = Backoff(first=0.3, longest=3.0, jitter=0.3)
_PREFIX: Final = "whsec_"
_KEY_BYTES: Final = range(24, 65)
# These statuses may be temporary. Other 4xx statuses are final, 410 (Gone) among them.
_RETRYABLE_STATUSES: Final = frozenset({408, 429, *range(500, 600)})

_Code = Literal["forbidden", "unreachable", "untrusted", "rejected", "internal"]
_MESSAGES: Final[dict[_Code, str]] = {
    "forbidden": "This site's network rules do not allow the address of the receiver.",
    "unreachable": "The receiver could not be reached or did not respond in time.",
    "untrusted": "The receiver's TLS certificate is not trusted.",
    "rejected": "The receiver did not accept the notification.",
    "internal": "The service could not send the notification; the server log has the details.",
}

Notify = Callable[[Result, float], Notification]
"""Sends a result to a receiver within a number of seconds. Never raises."""


class Notifier:
    """Notifies the receivers of one site. Thread-safe."""

    def __init__(self, site: Site) -> None:
        self._secret = site.notify_secret
        self._references = SecretResolver()
        # The addresses of the site's own storages are not added: no receiver may be there.
        self._egress = Egress(site.egress_rules.permits, site.egress_proxy)

    def prepare(self, url: str, transfer: str) -> Notify:
        """A function that notifies the receiver at `url` of one transfer.

        `transfer` is the random identifier of the transfer. Raises ConfigurationError if the
        site's secret is missing or unusable, so that this is found before the transfer starts.
        """
        if self._secret is None:
            raise ConfigurationError(
                "This site sends no notifications: its site file has no `notify.secret`."
            )
        try:
            key = signing_key(self._references.resolve(self._secret))
        except ConfigurationError as error:
            _LOG.error("notify.secret in the site file cannot be used: %s", error)
            raise ConfigurationError(
                "Notifications are misconfigured on the server; the server log has the details."
            ) from None
        receiver = Receiver(url, key, self._egress)

        def notify(result: Result, seconds: float) -> Notification:
            return deliver(receiver, transfer, result, seconds)

        return notify


@dataclass(frozen=True)
class Receiver:
    """The receiver of notifications: its URL, the signing key, and the network rules."""

    url: str = field(repr=False)
    key: bytes = field(repr=False)
    egress: Egress


def signing_key(secret: str) -> bytes:
    """The key in a secret of the form `whsec_BASE64`.

    Raises ConfigurationError; its text does not quote the secret.
    """
    try:
        if not secret.startswith(_PREFIX):
            raise ValueError
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        if len(key) not in _KEY_BYTES:
            raise ValueError
    except (ValueError, binascii.Error):
        raise ConfigurationError(
            "It must be `whsec_` followed by 24 to 64 bytes in base64. "
            "`echo whsec_$(openssl rand -base64 32)` makes one."
        ) from None
    return key


def signature(key: bytes, identifier: str, timestamp: int, body: bytes) -> str:
    """The value of the header `webhook-signature` (Standard Webhooks, version 1)."""
    signed = hmac.new(key, f"{identifier}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(signed.digest()).decode("ascii")


def cloud_event(transfer: str, result: Result) -> dict[str, Json]:
    """The CloudEvent that carries a result, without its list of files."""
    document: dict[str, Json] = {
        "specversion": "1.0",
        "id": transfer,
        "source": "urn:efss-transfer:service",
        "type": f"efss-transfer.transfer.{result.state.value}",
        "time": rfc3339(result.finished),
        "datacontenttype": "application/json",
        "dataschema": "urn:efss-transfer:schema:v1:result",
    }
    if result.id is not None:
        document["subject"] = result.id
    return document | {"data": replace(result, files=None, notification=None).to_json()}


def deliver(
    receiver: Receiver, transfer: str, result: Result, seconds: float = SECONDS
) -> Notification:
    """Send a result to a receiver within that many seconds. Never raises.

    Only temporary failures are retried. Every attempt has the same event id, by which a receiver
    recognizes a duplicate.
    """
    until = time.monotonic() + seconds
    attempts = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_before_delay(seconds),
        wait=_pause,
        retry=tenacity.retry_if_result(lambda response: response.retryable),
        retry_error_callback=lambda state: state.outcome and state.outcome.result(),
    )
    try:
        body = json.dumps(cloud_event(transfer, result), ensure_ascii=True).encode("ascii")
        response: _ReceiverResponse = attempts(_attempt, receiver, transfer, body, until)
    except Exception as error:  # noqa: BLE001 - a failed notification must not fail the transfer
        _LOG.error(
            "internal error: the notification could not be sent: %s",
            type(error).__name__,
            extra=logs.members("defect", {"transfer": transfer, "where": logs.stack(error)}),
        )
        response = _ReceiverResponse(code="internal")
    count = int(attempts.statistics.get("attempt_number", 0))
    code = response.code
    failure = None if code is None else NotificationError(code, _MESSAGES[code])
    return Notification(count, response.status, failure)


@dataclass(frozen=True)
class _ReceiverResponse:
    """The outcome of one attempt; `code` is None if the receiver accepted the notification.

    `retry_after` is the receiver's Retry-After, in seconds.
    """

    code: _Code | None
    status: int | None = None
    retryable: bool = False
    retry_after: float = 0.0


def _pause(state: tenacity.RetryCallState) -> float:
    """Seconds until the next attempt; if more than the time left, no attempt follows."""
    response = state.outcome.result() if state.outcome else None
    retry_after = response.retry_after if isinstance(response, _ReceiverResponse) else 0.0
    return _BACKOFF.seconds(state.attempt_number, retry_after)


def _attempt(receiver: Receiver, identifier: str, body: bytes, until: float) -> _ReceiverResponse:
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
        return _ReceiverResponse("forbidden")
    except ssl.SSLCertVerificationError:
        return _ReceiverResponse("untrusted")
    except (OSError, http.client.HTTPException):
        return _ReceiverResponse("unreachable", retryable=True)
    if 200 <= status < 300:
        return _ReceiverResponse(None, status)
    wait = retry_after_seconds(retry_after) or 0.0
    return _ReceiverResponse("rejected", status, status in _RETRYABLE_STATUSES, wait)
