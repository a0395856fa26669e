"""The refusals of Nextcloud's WebDAV: a status, the exception's name, a message.

The names of the exceptions are Nextcloud's, because clients read them. Of its messages, only
those are as they were seen that rclone shows to a person and this project classifies.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

SABRE = "Sabre\\DAV\\Exception\\"
CONNECTOR = "OCA\\DAV\\Connector\\Sabre\\Exception\\"
ALLOW = "OPTIONS, GET, HEAD, DELETE, PROPFIND, PUT, PROPPATCH, COPY, MOVE, REPORT"
"""The Allow header of every 405, the same for every path."""


class DavError(Exception):
    """A refusal; `more` is XML that follows the message."""

    def __init__(
        self,
        status: int,
        exception: str,
        message: str = "",
        *,
        more: str = "",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(f"{status} {exception}: {message}")
        self.status = status
        self.exception = exception
        self.message = message
        self.more = more
        self.headers = headers

    def body(self) -> bytes:
        """The error as XML."""
        message = f"<s:message>{escape(self.message)}</s:message>"
        return (
            '<?xml version="1.0" encoding="utf-8"?>\n'
            '<d:error xmlns:d="DAV:" xmlns:s="http://sabredav.org/ns">\n'
            f"  <s:exception>{escape(self.exception)}</s:exception>\n"
            f"  {message if self.message else '<s:message/>'}\n{self.more}</d:error>\n"
        ).encode()


def not_found(path: str) -> DavError:
    """Refuse a path that does not exist, or whose parent does not."""
    return DavError(404, SABRE + "NotFound", f"Nothing at {path}")


def conflict(message: str) -> DavError:
    """Refuse to create something whose parent is missing or a file."""
    return DavError(409, SABRE + "Conflict", message)


def forbidden(message: str = "") -> DavError:
    """Refuse an operation that the account is not allowed."""
    return DavError(403, SABRE + "Forbidden", message)


def bad_request(message: str) -> DavError:
    """Refuse a malformed request."""
    return DavError(400, SABRE + "BadRequest", message)


def not_allowed(message: str) -> DavError:
    """Refuse a method for this resource."""
    return DavError(405, SABRE + "MethodNotAllowed", message, headers=(("Allow", ALLOW),))


def unsupported_media(message: str) -> DavError:
    """Refuse the body of a MKCOL, or the target of a MOVE, by its type."""
    return DavError(415, SABRE + "UnsupportedMediaType", message)


def precondition(header: str, message: str, etag: str = "") -> DavError:
    """Refuse a request whose precondition fails."""
    more = f"  <s:header>{header}</s:header>\n"
    headers = (("ETag", f'"{etag}"'),) if etag else ()
    return DavError(412, SABRE + "PreconditionFailed", message, more=more, headers=headers)


def locked(path: str, folder: bool = False) -> DavError:
    """Another request holds the file. For a folder, Nextcloud answers 500 instead of 423."""
    message = f'"{path}" is locked'
    if folder:
        return DavError(500, "OCP\\Lock\\LockedException", message)
    return DavError(423, CONNECTOR + "FileLocked", message)


def invalid_path(reason: str) -> DavError:
    """Refuse a file name for good."""
    more = (
        '  <o:retry xmlns:o="o:">false</o:retry>\n'
        f'  <o:reason xmlns:o="o:">{escape(reason)}</o:reason>\n'
    )
    return DavError(400, CONNECTOR + "InvalidPath", reason, more=more)


def insufficient_storage(path: str, required: int, available: int) -> DavError:
    """Refuse an upload that exceeds the quota."""
    message = f"Insufficient space in {path}, {required} required, {available} available"
    return DavError(507, SABRE + "InsufficientStorage", message)


def invalid_mtime(value: str) -> DavError:
    """Refuse a modification time before 1970-01-02, or one that is not a number."""
    message = (
        "X-OC-MTime header must be a valid positive unix timestamp greater than one day, "
        f'got "{value}".'
    )
    return DavError(500, "InvalidArgumentException", message)


def not_authenticated(message: str, challenge: bool = True) -> DavError:
    """Refuse missing, wrong or revoked credentials."""
    headers = (("WWW-Authenticate", 'Basic realm="Nextcloud", charset="UTF-8"'),)
    return DavError(401, SABRE + "NotAuthenticated", message, headers=headers if challenge else ())


def too_many_requests() -> DavError:
    """Refuse an address that sent too many wrong passwords."""
    more = '  <o:hint xmlns:o="o:">too many requests</o:hint>\n'
    return DavError(429, CONNECTOR + "TooManyRequests", more=more)


def unavailable(message: str) -> DavError:
    """Refuse a disabled account or an unknown link."""
    return DavError(503, SABRE + "ServiceUnavailable", message)


def maintenance() -> DavError:
    """Refuse during maintenance. Nextcloud sends no Retry-After here."""
    return DavError(
        503, "OCA\\DAV\\Exception\\ServerMaintenanceMode", "System is in maintenance mode."
    )


def not_implemented(method: str) -> DavError:
    """Refuse an unknown method."""
    return DavError(501, SABRE + "NotImplemented", f"{method} is not implemented")
