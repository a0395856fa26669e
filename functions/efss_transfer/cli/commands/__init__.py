"""A file for each command of `efss-transfer`."""
