"""What the application asks of the world: one Protocol per role, domain words only."""
