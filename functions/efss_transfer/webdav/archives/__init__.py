"""Downloads of many small files in one request, as Nextcloud offers them."""
