"""Convolutions as local blocks, norms between them, and named networks of them."""
