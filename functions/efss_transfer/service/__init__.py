"""Serves one request, from HTTP message to answer, whatever the runtime."""
