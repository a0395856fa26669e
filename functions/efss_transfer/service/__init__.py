"""Turns one request into one response, whatever runtime it came through."""
