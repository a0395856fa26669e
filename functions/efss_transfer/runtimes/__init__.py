"""Adapters for FaaS runtimes and web servers, a file each."""
