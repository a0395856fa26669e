"""Parts that stand-ins of servers share: the HTTP server, its log of requests, planned faults."""
