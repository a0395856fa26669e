"""Engine that lets WebDAV storages copy between themselves: HTTP third-party copy."""
