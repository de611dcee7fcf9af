"""Outside services that process audio: their shared HTTP client, the guard of its connections, and the adapters."""
