"""Adapters for FaaS runtimes and web servers, one file or folder each."""
