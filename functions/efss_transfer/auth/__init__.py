"""Authenticates callers and admits their requests."""
