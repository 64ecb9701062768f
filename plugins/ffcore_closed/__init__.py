"""Closed forms: weights from sums over one pass of the samples, without a gradient."""
