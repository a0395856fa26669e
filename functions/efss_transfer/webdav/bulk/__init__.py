"""Uploads of many small new files in one request, as Nextcloud offers them."""
