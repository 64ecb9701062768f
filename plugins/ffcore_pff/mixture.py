"""Mixtures of Gaussians over top latents, one for each class, or one for all of them.

    p(z | k) = Σ_m w_km N(z; μ_km, F_km F_kmᵀ)

K classes; J mixtures, K or 1; M components; Z latents; N samples; w (J, M); μ (J, M, Z); F (J, M, Z, Z).
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
    """The mixtures, fitted with scikit-learn, and the frequencies of the classes.

    Attributes:
        classes: (K,) shares of the classes.
        weights: (J, M).
        means: (J, M, Z).
        factors: (J, M, Z, Z) lower triangles F, Cholesky factors of the covariances.
    """

    classes: Array
    weights: Array
    means: Array
    factors: Array

    @classmethod
    def fit(
        cls,
        latents: Tensor,
        y: Tensor,
        classes: int,
        components: int,
        seed: int = 0,
        by_class: bool = True,
    ) -> Mixture:
        """Fit a mixture to the latents (N, Z) of each class, or to all of them.

        Raises:
            ValueError: when there are fewer latents than components.
        """
        counts = torch.bincount(y.cpu(), minlength=classes)
        refuse_few(counts.tolist() if by_class else [len(y)], components)
        # float64 for the Cholesky factors.
        z, labels = latents.double().cpu().numpy(), y.cpu().numpy()
        scale = float(z.std()) or 1.0  # reg_covar, which is added to variances, suits a scale of 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # equal latents give fewer clusters
            fitted = [
                GaussianMixture(components, reg_covar=1e-4, random_state=seed).fit(part / scale)
                for part in ([z[labels == k] for k in range(classes)] if by_class else [z])
            ]
        return cls(
            (counts / counts.sum()).double().numpy(),
            np.stack([one.weights_ for one in fitted]),
            np.stack([one.means_ for one in fitted]) * scale,
            np.stack([np.linalg.cholesky(one.covariances_) for one in fitted]) * scale,
        )

    def sample(self, asked: Sequence[int], random: np.random.Generator) -> Tensor:
        """Return latents (N, Z), one for each class in ``asked``; a mixture of all classes ignores which."""
        k = np.asarray(asked) if self.by_class else np.zeros(len(asked), dtype=np.int64)
        # choose the components by the inverse of the cumulative weights
        reach = self.weights[k].cumsum(1)
        m = (reach < random.random((len(k), 1)) * reach[:, -1:]).sum(1)
        noise = random.normal(size=(len(k), self.means.shape[2]))
        made = self.means[k, m] + np.einsum("nij,nj->ni", self.factors[k, m], noise)
        return torch.tensor(made, dtype=torch.float32)

    @property
    def by_class(self) -> bool:
        """Whether each class has a mixture of its own."""
        return len(self.weights) == len(self.classes)

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
        whose = f"class {few} has" if len(counts) > 1 else "there are"
        raise ValueError(
            f"components: {components}, but {whose} only {counts[few]} training samples; a mixture needs at "
            "least one for each component, and at least two"
        )
