"""Shares of Open Cloud Mesh: discovery of their sender's server, and signing in there."""
