"""The HTTP API; importing this loads neither Starlette nor msgspec, its modules do."""
