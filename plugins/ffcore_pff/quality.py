"""Quality of generated samples: classification by an independent network, and distance to training data.

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
"""Maximum number of training images of the classifier, a random choice."""


class Judge(NamedTuple):
    """A scikit-learn classifier trained on real images only, and its accuracy on test images."""

    network: MLPClassifier
    accuracy: float

    @classmethod
    def train(cls, x: Tensor, y: Tensor, test_x: Tensor, test_y: Tensor) -> Judge:
        """Train a network with one hidden layer of 100 units on images (N, *shape) and their classes."""
        network = MLPClassifier((100,), max_iter=30, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # 30 epochs are accurate enough
            some = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:MOST]
            network.fit(x[some].flatten(1).numpy(), y[some].numpy())
        return cls(network, float(network.score(test_x.flatten(1).numpy(), test_y.numpy())))

    def agreement(self, images: Tensor, asked: Tensor) -> float:
        """Return the share of images that the classifier assigns to the classes ``asked``."""
        predicted = torch.tensor(self.network.predict(images.flatten(1).numpy()))
        return float((predicted == asked).float().mean())


def nearest(images: Tensor, train: Tensor) -> Tensor:
    """Return the Euclidean distances to the nearest training image, (N,)."""
    # In parts, since the distances to all training images need much memory.
    parts = torch.split(images.flatten(1), 500)
    return torch.cat([torch.cdist(part, train.flatten(1)).min(1).values for part in parts])
