"""Settings from the environment, and the memory and processors of this machine."""
