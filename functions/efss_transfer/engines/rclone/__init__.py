"""rclone as an engine: each transfer has an rclone daemon of its own."""
