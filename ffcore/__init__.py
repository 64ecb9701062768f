"""ffcore."""
