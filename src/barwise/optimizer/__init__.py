"""The optimizer: where to look, how to look, what it found, and how much of it to believe."""
