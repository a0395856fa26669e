"""Your endpoints: questions for a new one, and the file that they are kept in."""
