"""Backpropagation in the same trainer, for comparison with forward-only learning."""
