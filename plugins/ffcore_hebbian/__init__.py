"""Hebbian learning: blocks learn from their own inputs and activities, without labels and without a loss."""
