"""The adapter for functions-framework and Flask."""
