"""The forms in which lists of files are published."""
