"""Black boxes: parts between blocks that need no gradient."""
