"""The Python client: `Client`, the errors that it raises, and the events that it yields.

    from efss_transfer.client import Client, ClientError, Incomplete

    with Client("https://transfer.example.org", token=token) as client:
        result = client.complete(request)

Each name is imported when it is first used: AWS Lambda's state machine imports
`efss_transfer.client.merge`, and its cold start must not pay for `requests`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from efss_transfer.client.client import (
        Client,
        Request,
        Stream,
        Timeouts,
    )
    from efss_transfer.client.errors import (
        AuthenticationFailed,
        BodyTooLarge,
        Busy,
        Cancelled,
        ChecksumMismatch,
        ClientError,
        DestinationNotFound,
        EngineFailed,
        Forbidden,
        Incomplete,
        Internal,
        InvalidJson,
        InvalidRequest,
        MethodNotAllowed,
        NameRefused,
        NotAcceptable,
        NotADirectory,
        NotFound,
        Partial,
        PermissionDenied,
        Problem,
        QuotaExceeded,
        RequestRefused,
        ServiceFailed,
        ServiceUnreachable,
        SourceNotFound,
        StillRunning,
        StorageBusy,
        StorageError,
        StorageUnreachable,
        TooLarge,
        TransferFailed,
        Unauthenticated,
        UnexpectedAnswer,
        Unsupported,
        UnsupportedMediaType,
        UntrustedService,
    )
    from efss_transfer.client.resume import (
        Resumed,
        RetryPolicy,
    )
    from efss_transfer.model.events import (
        Event,
        FileDone,
        Finished,
        Phase,
        Progress,
        Started,
    )

_MODULES: Final = {
    "efss_transfer.client.client": ("Client", "Request", "Stream", "Timeouts"),
    "efss_transfer.client.errors": (
        "ClientError",
        "ServiceUnreachable",
        "UntrustedService",
        "UnexpectedAnswer",
        "Problem",
        "RequestRefused",
        "InvalidJson",
        "InvalidRequest",
        "Unauthenticated",
        "Forbidden",
        "NotFound",
        "MethodNotAllowed",
        "NotAcceptable",
        "BodyTooLarge",
        "UnsupportedMediaType",
        "TooLarge",
        "Busy",
        "TransferFailed",
        "SourceNotFound",
        "DestinationNotFound",
        "NotADirectory",
        "AuthenticationFailed",
        "PermissionDenied",
        "NameRefused",
        "Unsupported",
        "StorageUnreachable",
        "StillRunning",
        "StorageError",
        "ChecksumMismatch",
        "Partial",
        "StorageBusy",
        "Incomplete",
        "QuotaExceeded",
        "Cancelled",
        "ServiceFailed",
        "EngineFailed",
        "Internal",
    ),
    "efss_transfer.client.resume": ("Resumed", "RetryPolicy"),
    "efss_transfer.model.events": ("Event", "FileDone", "Finished", "Phase", "Progress", "Started"),
}

__all__ = [
    "AuthenticationFailed",
    "BodyTooLarge",
    "Busy",
    "Cancelled",
    "ChecksumMismatch",
    "Client",
    "ClientError",
    "DestinationNotFound",
    "EngineFailed",
    "Event",
    "FileDone",
    "Finished",
    "Forbidden",
    "Incomplete",
    "Internal",
    "InvalidJson",
    "InvalidRequest",
    "MethodNotAllowed",
    "NameRefused",
    "NotADirectory",
    "NotAcceptable",
    "NotFound",
    "Partial",
    "PermissionDenied",
    "Phase",
    "Problem",
    "Progress",
    "QuotaExceeded",
    "Request",
    "RequestRefused",
    "Resumed",
    "RetryPolicy",
    "ServiceFailed",
    "ServiceUnreachable",
    "SourceNotFound",
    "Started",
    "StillRunning",
    "StorageBusy",
    "StorageError",
    "StorageUnreachable",
    "Stream",
    "Timeouts",
    "TooLarge",
    "TransferFailed",
    "Unauthenticated",
    "UnexpectedAnswer",
    "Unsupported",
    "UnsupportedMediaType",
    "UntrustedService",
]


def __getattr__(name: str) -> Any:
    """Import a name of this package's on first use. Raises AttributeError for any other."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
