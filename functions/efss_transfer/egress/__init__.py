"""Decides where connections may go, and makes them."""
