"""How good samples are: whether a judge recognises their class, and whether they are copies.

N images; D pixels.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from torch import Tensor

MOST = 10_000
"""Training images that the judge learns from, drawn evenly."""


class Judge(NamedTuple):
    """A network of scikit-learn's that has seen real images only, and its accuracy on those of the test."""

    network: MLPClassifier
    accuracy: float

    @classmethod
    def train(cls, x: Tensor, y: Tensor, test_x: Tensor, test_y: Tensor) -> Judge:
        """Let one hidden layer of 100 units learn (N, D) images and their classes."""
        network = MLPClassifier((100,), max_iter=30, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # thirty epochs are enough to judge
            some = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:MOST]
            network.fit(x[some].flatten(1).numpy(), y[some].numpy())
        return cls(network, float(network.score(test_x.flatten(1).numpy(), test_y.numpy())))

    def agreement(self, images: Tensor, asked: Tensor) -> float:
        """Share of images that it takes for the class that was asked for."""
        said = torch.tensor(self.network.predict(images.flatten(1).numpy()))
        return float((said == asked).float().mean())


def nearest(images: Tensor, train: Tensor) -> Tensor:
    """(N,) Euclidean distances to the nearest training image."""
    parts = torch.split(images.flatten(1), 500)
    return torch.cat([torch.cdist(part, train.flatten(1)).min(1).values for part in parts])
