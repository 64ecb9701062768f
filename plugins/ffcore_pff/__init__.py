"""Predictive Forward-Forward: a circuit of layers that classifies, and a generator of images."""
