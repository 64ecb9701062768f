"""Convolutions as local blocks, norms between them, and networks of them by name."""
