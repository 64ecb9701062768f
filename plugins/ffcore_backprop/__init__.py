"""Backpropagation in the same trainer, for figures to put beside those of forward-only learning."""
