"""The site file: storages, secrets, callers, and the policy that follows from it."""
