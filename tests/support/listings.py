"""Listings as servers write them that rclone alone misreads, made from right ones."""

from __future__ import annotations


def with_status(body: bytes, path: str, code: int, where: str) -> bytes:
    """A listing whose entry for a path has a status: in its `propstat`, or of its `response`."""
    href = path.encode("ascii")
    begin = body.find(b"<d:response><d:href>%s<" % href)
    if begin < 0:
        return body
    end = body.index(b"</d:response>", begin)
    entry = body[begin:end]
    if where == "propstat":
        entry = entry.replace(b"HTTP/1.1 200 OK", b"HTTP/1.1 %d Words" % code)
    else:
        entry = b"<d:response><d:href>%s</d:href><d:status>HTTP/1.1 %d W</d:status>" % (href, code)
    return body[:begin] + entry + body[end:]
