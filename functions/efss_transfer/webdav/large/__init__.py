"""Large files: sent in chunks, so that an upload that was cut off can go on."""
