"""Mixtures of Gaussians over top latents, one for each class.

K classes; M components; Z latents; N samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture
from torch import Tensor

Array = NDArray[np.float64]
_PREFIX = "mixture/"


@dataclass(frozen=True)
class Mixture:
    """p(z | k) = Σ_m w_km N(z; μ_km, Σ_km), fitted with scikit-learn, and how often each class comes.

    Attributes:
        classes: (K,) shares of the classes.
        weights: (K, M).
        means: (K, M, Z).
        covariances: (K, M, Z, Z).
    """

    classes: Array
    weights: Array
    means: Array
    covariances: Array

    @classmethod
    def fit(cls, latents: Tensor, y: Tensor, classes: int, components: int, seed: int = 0) -> Mixture:
        """Fit a mixture to the latents (N, Z) of each class.

        Raises:
            ValueError: when a class has fewer latents than components.
        """
        counts = torch.bincount(y, minlength=classes)
        refuse_few(counts.tolist(), components)
        z, labels = latents.double().cpu().numpy(), y.cpu().numpy()
        fitted = [
            GaussianMixture(components, reg_covar=1e-4, random_state=seed).fit(z[labels == k])
            for k in range(classes)
        ]
        return cls(
            (counts / counts.sum()).double().numpy(),
            np.stack([one.weights_ for one in fitted]),
            np.stack([one.means_ for one in fitted]),
            np.stack([one.covariances_ for one in fitted]),
        )

    def sample(self, asked: Sequence[int], random: np.random.Generator) -> Tensor:
        """(N, Z) latents, one for each class that is asked for."""
        made = []
        for k in asked:
            m = random.choice(self.weights.shape[1], p=self.weights[k] / self.weights[k].sum())
            made.append(random.multivariate_normal(self.means[k, m], self.covariances[k, m]))
        return torch.tensor(np.array(made), dtype=torch.float32)

    def draw(self, n: int, random: np.random.Generator) -> list[int]:
        """So many classes, as often as each comes."""
        return [int(k) for k in random.choice(len(self.classes), size=n, p=self.classes / self.classes.sum())]

    def arrays(self) -> dict[str, Tensor]:
        """For ``figures.npz``."""
        return {_PREFIX + name: torch.tensor(value) for name, value in vars(self).items()}

    @classmethod
    def read(cls, figures: Mapping[str, NDArray[np.float32]]) -> Mixture | None:
        """What `arrays` has kept, or None."""
        names = cls.__dataclass_fields__
        if any(_PREFIX + name not in figures for name in names):
            return None
        return cls(**{name: figures[_PREFIX + name].astype(float) for name in names})


def refuse_few(counts: Sequence[int], components: int) -> None:
    """Refuse a mixture of more components than a class has latents, one for each sample."""
    few = min(range(len(counts)), key=lambda k: counts[k])
    if counts[few] < components:
        raise ValueError(
            f"components: {components}, but class {few} has only {counts[few]} training samples, and as many "
            "latents; a mixture needs one for each component"
        )
