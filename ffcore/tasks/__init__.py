"""Tasks: what the targets of a data set are, and how predictions are made and measured."""

from ffcore.tasks.classification import Classification, PixelClassification, TokenClassification, as_task
from ffcore.tasks.numbers import MultiLabel, Regression
from ffcore.tasks.unsupervised import Unsupervised

__all__ = [
    "Classification",
    "MultiLabel",
    "PixelClassification",
    "Regression",
    "TokenClassification",
    "Unsupervised",
    "as_task",
]
