"""Tasks: what the targets of a data set are, and how predictions are made and measured."""

from ffcore.tasks.classification import Classification, PixelClassification, TokenClassification, as_task
from ffcore.tasks.numbers import MultiLabel, Regression

__all__ = [
    "Classification",
    "MultiLabel",
    "PixelClassification",
    "Regression",
    "TokenClassification",
    "as_task",
]
