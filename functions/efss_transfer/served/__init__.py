"""Trees that the service itself serves to an engine: files at one or more URLs, by their list."""
