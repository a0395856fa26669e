"""Measures the function beside plain rclone, in the same run; `scripts/bench` runs it."""
