"""Builds the service's OpenAPI description from the schemas."""
