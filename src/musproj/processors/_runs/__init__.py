"""What the processors do when they run, and what they share in doing so; imported by runs alone."""
