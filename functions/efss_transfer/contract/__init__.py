"""Checks requests against the JSON Schema and turns them into the model's types."""
