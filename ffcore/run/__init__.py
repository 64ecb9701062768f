"""Runs: training, evaluation, prediction, and the run directory."""
