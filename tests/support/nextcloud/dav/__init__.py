"""WebDAV methods of the stand-in."""
