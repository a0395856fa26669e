"""Servers that misbehave in generated ways, each of which leaves a trace.

Each server has a `storage` and `troubles`. A trouble has a kind, which names what the server does,
a path, and a number of times; paths are those of the storage, without its `base`.
"""
