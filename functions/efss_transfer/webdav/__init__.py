"""WebDAV between an engine and a server: parsing, HTTP client and server, gateway."""
