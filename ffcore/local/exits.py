"""Early exits: the score of a sample after every exit, how sure it is, and the threshold on it.

    s_e = contribution of the evidence known after exit e             (N, K)
    m_e = largest s_e − second largest s_e                            (N,)  margin
    σ_e = standard deviation of m_e over the validation split
    a sample leaves at the first exit e < E with m_e ≥ t σ_e, otherwise at E

    accuracy(t)        = mean over samples of [argmax s_e = y], e the exit of the sample
    blocks(t)          = mean of B_e                                  blocks that have run after exit e
    multiplications(t) = mean of M_e                                  multiplications of a sample up to exit e
    t* = the t with the fewest multiplications whose accuracy(t) ≥ accuracy(∞) − tolerance, on validation

N samples; K classes; L sources of evidence; E exits. One t serves all exits, since margins are divided by
their σ_e. At t = ∞ no sample leaves, and at t = 0 all leave at the first exit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Measured", "Operation", "candidates", "cheapest", "leave", "margin", "thresholds"]

CANDIDATES = 20
"""Number of finite thresholds that are tried."""


def margin(scores: Tensor) -> Tensor:
    """Return the largest minus the second largest score, (N, K) → (N,), in float64.

    >>> margin(torch.tensor([[1.0, 4.0, 2.0]])).tolist()
    [2.0]
    """
    best = scores.double().topk(2, dim=1).values
    return best[:, 0] - best[:, 1]


@dataclass(frozen=True, slots=True)
class Measured:
    """What is known of a split without leaving samples.

    Attributes:
        margins: (E, N) margins after each exit.
        right: (E, N) whether the largest score is the class.
    """

    margins: Tensor
    right: Tensor

    @property
    def deviations(self) -> Tensor:
        """σ_e, (E,); NaN with a single sample or margins that are not finite: no sample leaves there."""
        if self.margins.shape[1] < 2:
            return self.margins.new_full((len(self.margins),), math.nan)
        return self.margins.std(1)

    def at(self, limits: Tensor, blocks: Sequence[int], products: Sequence[int]) -> Operation:
        """Return what thresholds give on this split.

        Args:
            limits: θ_e of all exits but the last, (E − 1,).
            blocks: B_e, (E,).
            products: M_e, (E,).
        """
        out = leave(self.margins, limits)
        right = self.right.gather(0, out[None])[0]
        return Operation.of(right, out, blocks, products)


@dataclass(frozen=True, slots=True)
class Operation:
    """Accuracy and costs on a split.

    Attributes:
        accuracy: as a fraction.
        blocks: mean number of blocks that ran.
        multiplications: mean number for a sample.
    """

    accuracy: float
    blocks: float
    multiplications: float

    @classmethod
    def of(cls, right: Tensor, out: Tensor, blocks: Sequence[int], products: Sequence[int]) -> Operation:
        """Return the means over samples.

        Args:
            right: (N,) whether the prediction is the class.
            out: (N,) exit of each sample.
            blocks: B_e, (E,).
            products: M_e, (E,).
        """
        costs = torch.tensor([list(blocks), list(products)], dtype=torch.float64)[:, out.cpu()].mean(1)
        return cls(float(right.double().mean()), float(costs[0]), float(costs[1]))


def leave(margins: Tensor, thresholds: Tensor) -> Tensor:
    """Return the exit of every sample: the first with m_e ≥ θ_e, or the last, (E, N) → (N,).

    >>> margins = torch.tensor([[3.0, 1.0, 0.0], [0.0, 5.0, 0.0], [1.0, 1.0, 1.0]])
    >>> leave(margins, torch.tensor([2.0, 2.0])).tolist()
    [0, 1, 2]

    Args:
        margins: (E, N) after each exit.
        thresholds: (E − 1,) θ_e of all exits but the last; NaN: no sample leaves there.
    """
    sure = margins >= torch.cat([thresholds, thresholds.new_full((1,), -math.inf)])[:, None]
    sure[-1] = True  # also where a margin is not a number
    return sure.double().argmax(0)  # the first of equal values


def candidates(measured: Measured, number: int = CANDIDATES) -> list[float]:
    """Return thresholds t to try, ascending, the last one ∞.

    They are the quantiles (i / number)² of all m_e / σ_e before the last exit, for i from 0 to number − 1:
    the few samples that are unsure decide, so small quantiles are close to each other.

    Args:
        measured: of the validation split.
        number: number of finite thresholds.
    """
    deviations = measured.deviations[:-1]
    sure = (measured.margins[:-1] / deviations[:, None])[deviations > 0].flatten()
    sure = sure[sure.isfinite()].sort().values
    if not len(sure):
        return [math.inf]
    places = [int((i / number) ** 2 * (len(sure) - 1)) for i in range(number)]
    return [*dict.fromkeys(float(sure[place]) for place in places), math.inf]


def thresholds(t: float, deviations: Tensor) -> Tensor:
    """Return θ_e = t σ_e of all exits but the last, (E,) → (E − 1,); ∞ where σ_e is 0: no sample leaves.

    >>> thresholds(2.0, torch.tensor([1.0, 0.0, 3.0])).tolist()
    [2.0, inf]
    """
    found = deviations[:-1]
    return torch.where(found > 0, t * found, math.inf)


def cheapest(tried: Sequence[Operation], tolerance: float) -> int:
    """Return the index of t*: the fewest multiplications within the tolerance of the last, which is t = ∞.

    Of equally cheap thresholds it is the more accurate one.

    Args:
        tried: on validation, one for each threshold; the last without leaving samples.
        tolerance: largest loss of accuracy, in percentage points.
    """
    least = tried[-1].accuracy - tolerance / 100 - 1e-12  # the rounding of a difference of fractions
    fit = [i for i, each in enumerate(tried) if each.accuracy >= least]
    return min(fit, key=lambda i: (tried[i].multiplications, -tried[i].accuracy))
