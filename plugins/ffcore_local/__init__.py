"""Local error signals: every block has a classifier, a similarity loss, or both, of its own."""
