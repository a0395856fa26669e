"""Credentials that a gateway adds to its requests, and tokens that are renewed."""
