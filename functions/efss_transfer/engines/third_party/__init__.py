"""What engines share that direct copies between WebDAV storages: both ends and their files."""
