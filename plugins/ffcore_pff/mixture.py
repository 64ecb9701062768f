"""Mixtures of Gaussians over top latents, one for each class.

    p(z | k) = Σ_m w_km N(z; μ_km, F_km F_kmᵀ)

K classes; M components; Z latents; N samples; w (K, M); μ (K, M, Z); F (K, M, Z, Z).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

Array = NDArray[np.float64]
_PREFIX = "mixture/"


@dataclass(frozen=True)
class Mixture:
    """The mixtures of all classes, fitted with scikit-learn, and the frequencies of the classes.

    Attributes:
        classes: (K,) shares of the classes.
        weights: (K, M).
        means: (K, M, Z).
        factors: (K, M, Z, Z) lower triangles F, Cholesky factors of the covariances.
    """

    classes: Array
    weights: Array
    means: Array
    factors: Array

    @classmethod
    def fit(cls, latents: Tensor, y: Tensor, classes: int, components: int, seed: int = 0) -> Mixture:
        """Fit a mixture to the latents (N, Z) of each class.

        Raises:
            ValueError: when a class has fewer latents than components.
        """
        counts = torch.bincount(y.cpu(), minlength=classes)
        refuse_few(counts.tolist(), components)
        # float64 for the Cholesky factors.
        z, labels = latents.double().cpu().numpy(), y.cpu().numpy()
        scale = float(z.std()) or 1.0  # reg_covar, which is added to variances, suits a scale of 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # equal latents give fewer clusters
            fitted = [
                GaussianMixture(components, reg_covar=1e-4, random_state=seed).fit(z[labels == k] / scale)
                for k in range(classes)
            ]
        return cls(
            (counts / counts.sum()).double().numpy(),
            np.stack([one.weights_ for one in fitted]),
            np.stack([one.means_ for one in fitted]) * scale,
            np.stack([np.linalg.cholesky(one.covariances_) for one in fitted]) * scale,
        )

    def sample(self, asked: Sequence[int], random: np.random.Generator) -> Tensor:
        """Return latents (N, Z), one for each class in ``asked``."""
        k = np.asarray(asked)
        # choose the components by the inverse of the cumulative weights
        reach = self.weights[k].cumsum(1)
        m = (reach < random.random((len(k), 1)) * reach[:, -1:]).sum(1)
        noise = random.normal(size=(len(k), self.means.shape[2]))
        made = self.means[k, m] + np.einsum("nij,nj->ni", self.factors[k, m], noise)
        return torch.tensor(made, dtype=torch.float32)

    def draw(self, n: int, random: np.random.Generator) -> list[int]:
        """Return ``n`` random classes with the frequencies of the training data."""
        return [int(k) for k in random.choice(len(self.classes), size=n, p=self.classes / self.classes.sum())]

    def arrays(self) -> dict[str, Tensor]:
        """Return the arrays for ``arrays.npz``."""
        return {_PREFIX + name: torch.tensor(value) for name, value in vars(self).items()}

    @classmethod
    def read(cls, arrays: Mapping[str, NDArray[np.float32]]) -> Mixture | None:
        """Return the mixture that `arrays` has stored, or None."""
        names = cls.__dataclass_fields__
        if any(_PREFIX + name not in arrays for name in names):
            return None
        return cls(**{name: arrays[_PREFIX + name].astype(float) for name in names})


def refuse_few(counts: Sequence[int], components: int) -> None:
    """Raise if a class has fewer samples, and so fewer latents, than the mixture has components."""
    few = min(range(len(counts)), key=lambda k: counts[k])
    if counts[few] < max(2, components):
        raise ValueError(
            f"components: {components}, but class {few} has only {counts[few]} training samples; a mixture "
            "needs at least one for each component, and at least two"
        )
