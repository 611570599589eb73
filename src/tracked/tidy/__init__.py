"""Find what is in nobody's way, and remove it."""
