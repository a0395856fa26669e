"""Leaves out the times of files where a storage refuses them."""
