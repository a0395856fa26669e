"""What the gateway's requests wait for at their server."""
