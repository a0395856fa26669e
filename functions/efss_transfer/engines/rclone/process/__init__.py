"""Starts, confines and stops the rclone daemon."""
