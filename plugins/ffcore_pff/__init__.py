"""Predictive Forward-Forward: one circuit classifies, another learns to generate beside it."""
