"""Sweeps: several runs of a recipe, as a grid with seeds or as a search by Optuna."""
