"""From a validated recipe to objects."""
