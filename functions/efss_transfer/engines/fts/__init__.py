"""Engine that hands copies between WebDAV storages to an FTS3 server as jobs."""
