"""Listings of whole trees in one request, as Nextcloud answers them."""
