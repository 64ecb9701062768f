"""Builds the objects of a validated recipe."""
