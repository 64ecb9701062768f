"""Goodness functions of "In Search of Goodness"."""
