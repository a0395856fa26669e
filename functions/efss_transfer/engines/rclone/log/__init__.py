"""Parses rclone's log into outcomes and error codes."""
