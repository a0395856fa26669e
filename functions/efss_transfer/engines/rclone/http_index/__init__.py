"""Looks at the indexes of a web server, of which rclone tells nothing but their links."""
