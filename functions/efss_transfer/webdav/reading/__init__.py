"""Looks at a server's answers in another way, where they may hide files."""
