"""The use cases: each reads as the story, each step is a domain method or a port call."""
