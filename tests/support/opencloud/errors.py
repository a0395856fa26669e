"""Refusals: a status and, from some methods, sabre/dav's exception with a message."""

from __future__ import annotations

from xml.sax.saxutils import escape

_EXCEPTIONS = {
    400: "BadRequest",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    412: "PreconditionFailed",
}


class Refusal(Exception):
    """A refusal. Without a message it has no body."""

    def __init__(self, status: int, message: str = "", *headers: tuple[str, str]) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.message = message
        self.headers = headers

    def body(self) -> bytes:
        """The error as XML. The namespace of its root is the real one's."""
        if not self.message:
            return b""
        name = _EXCEPTIONS.get(self.status)
        exception = f"Sabre\\DAV\\Exception\\{name}" if name else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<d:error xmlns:d="DAV" xmlns:s="http://sabredav.org/ns">'
            f"<s:exception>{exception}</s:exception>"
            f"<s:message>{escape(self.message, {chr(10): '&#xA;'})}</s:message>"
            "<s:errorcode></s:errorcode></d:error>"
        ).encode()


def not_found(message: str = "Resource not found") -> Refusal:
    """Refuse a path that does not exist."""
    return Refusal(404, message)


def not_authenticated(method: str) -> Refusal:
    """Refuse a credential; a PUT gets no body."""
    realm = ' realm="127.0.0.1:9200", charset="UTF-8"'
    challenges = [("WWW-Authenticate", kind + realm) for kind in ("Bearer", "Basic")]
    return Unauthenticated(401, "" if method == "PUT" else "Authentication error", *challenges)


class Unauthenticated(Refusal):
    """A refused credential, in another form than the other refusals."""

    def body(self) -> bytes:
        """The error as XML."""
        return (
            (
                '<?xml version="1.0" encoding="UTF-8"?>\n'
                '<d:error xmlns:d="DAV" xmlns:s="http://sabredav.org/ns">'
                "<s:Exception>Sabre\\DAV\\Exception\\PermissionDenied</s:Exception>"
                f"<s:Message>{self.message}</s:Message></d:error>"
            ).encode()
            if self.message
            else b""
        )


def check_name(name: str) -> None:
    """Refuse the names that the real one refuses."""
    for character in ("\\", "\n"):
        if character in name:
            raise Refusal(400, f"name validation failed: must not contain {character}")
    if len(name.encode()) > 255:
        raise Refusal(400, "name validation failed: must be shorter than 255")
