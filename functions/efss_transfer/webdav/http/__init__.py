"""HTTP/1.1 for the gateway: streams, messages, connections, client and server."""
