"""Looks of third-party engines at one WebDAV storage: what is in a folder, and what may be done."""
