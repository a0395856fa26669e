"""Talks to the daemon through rclone's rc API."""
