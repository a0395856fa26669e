"""Decides by which facts files are compared, where storages tell less than rclone expects."""
