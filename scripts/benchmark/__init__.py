"""Compares the service with plain rclone in the same run; started by `scripts/bench`."""
