"""Finds what never ends in a source, so that the rest can be copied."""
