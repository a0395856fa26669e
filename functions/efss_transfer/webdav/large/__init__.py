"""Large files: sent in parts, so that an upload that was cut off can go on; here in chunks."""
