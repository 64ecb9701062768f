"""Recipes: their schema, and how they are read. Does not import torch."""
