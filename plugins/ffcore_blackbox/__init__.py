"""Black boxes: parts between blocks that nobody can differentiate."""
