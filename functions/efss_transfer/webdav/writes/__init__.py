"""Uploads of files, so that no old file is lost and no partial one is found."""
