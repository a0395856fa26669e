"""WebDAV between an engine and a server: parsing, both sides of HTTP, and the gateway."""
