"""Runs one copy: attempts, limits, tuning, verification."""
