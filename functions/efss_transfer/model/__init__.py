"""The contract as frozen types: requests, results, events and errors."""
