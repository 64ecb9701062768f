"""Sums of squares with a term that compares a row with others, in units of their mean.

    G_r = S_r + w S̄ t_r

    decorrelation            t_r = variance of h_r over its units
    info-nce                 t_r = −ln Σ_q exp((û_r · û_q − 1)/τ)        û = h/‖h‖
    predictive-coding        t_r = −min(‖h_r − m‖²/S_r, 10)              m ← μ m + (1 − μ) · mean_q h_q
    softmax-energy-margin    t_r = ln max_j softmax_j(h_rj/τ)
    triplet-margin           t_r = tanh(‖h_r − c'‖²/‖h_r − c‖²)          c, c' means of r's view, the other

R rows r, q of a pass, positives and negatives; U units of a row, over all its dimensions; h (R, *shape);
S = Σ_j h_j² (R,), S̄ its mean over the R rows; t and G (R,); w the weight; m, c, c' (U,). S̄ has a gradient;
û_q, m and t of triplet-margin are constant in it.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from ffcore.interfaces import Context, Goodness, Views
from ffcore.options import BelowOne, NonNegative, Positive
from ffcore_goodness.energies import units
from ffcore_goodness.plasticity import learns

_SMALL = 1e-4
"""Sum of squares below which a row counts as silent: its quotients, and their gradients, stay bounded."""


class Contrast(Goodness):
    """Base of goodness functions G = S + w S̄ t, which depend on the other rows of a pass.

    A pass without negatives, such as one of all hypotheses, has G = S: the class of a sample does not depend
    on other samples. The authors predict by S too.

    Args:
        weight: w.
    """

    reads_views: ClassVar[bool] = True
    couples_samples: ClassVar[bool] = True

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, activity: Tensor, views: Views | None = None) -> Tensor:
        """(R, *shape) → (R,)."""
        h = units(activity)
        squares = h.square().sum(1)
        if views is None or "negative" not in views.roles:
            return squares
        with torch.autocast(h.device.type, enabled=False):
            return squares + self.weight * squares.mean() * self.term(h, squares, views)

    @abstractmethod
    def term(self, h: Tensor, squares: Tensor, views: Views) -> Tensor:
        """Return t, (R, U), (R,) → (R,)."""


class Decorrelation(Contrast):
    """Adds the variance of the activity over the units, t = var_j h (arXiv:2511.18567).

    Args:
        weight: w.
    """

    def __init__(self, weight: NonNegative = 0.001) -> None:
        super().__init__(weight)

    def term(self, h: Tensor, squares: Tensor, views: Views) -> Tensor:
        """See `Contrast.term`."""
        return h.var(1, correction=0)


class InfoNCE(Contrast):
    """Takes off how similar a row is to all rows, t = −ln Σ_q exp((cos(h, h_q) − 1)/τ) (arXiv:2511.18567).

    t is nearly 0 for a row unlike all others. The only positive of a row is the row itself, which makes the
    authors' NT-Xent the same function.

    Args:
        weight: w.
        temperature: τ.
    """

    def __init__(self, weight: NonNegative = 0.1, temperature: Positive = 0.1) -> None:
        super().__init__(weight)
        self.temperature = temperature

    def term(self, h: Tensor, squares: Tensor, views: Views) -> Tensor:
        """See `Contrast.term`."""
        u = h * squares.clamp_min(_SMALL).rsqrt().unsqueeze(1)
        logits = u @ u.detach().T / self.temperature
        return logits.diagonal() - logits.logsumexp(1)


class PredictiveCoding(Contrast):
    """Takes off the distance to a running mean of the activity, t = −min(‖h − m‖²/S, 10) (arXiv:2511.18567).

    m is a mean over the rows of all views. It moves when the block learns, before the goodness.

    Args:
        weight: w.
        momentum: μ, share of the previous m in the next.
    """

    predicted: Tensor

    def __init__(self, weight: NonNegative = 0.1, momentum: BelowOne = 0.9) -> None:
        super().__init__(weight)
        self.momentum = momentum

    def setup(self, context: Context) -> None:
        """Make m, zero."""
        self.register_buffer("predicted", torch.zeros(math.prod(context.shape)))

    def term(self, h: Tensor, squares: Tensor, views: Views) -> Tensor:
        """See `Contrast.term`."""
        if learns(self):  # on several ranks the rows are those of all ranks
            self.predicted.lerp_(h.detach().mean(0).to(self.predicted), 1 - self.momentum)
        error = (h - self.predicted).square().sum(1)
        return -(error / squares.clamp_min(_SMALL)).clamp_max(10)


class SoftmaxEnergyMargin(Contrast):
    """Adds how peaked the activity is, t = ln max_j softmax_j(h/τ) (arXiv:2511.18567).

    The authors' margin, added to every goodness, is a part of the objective's threshold: lower that by it.

    Args:
        weight: w.
        temperature: τ.
    """

    def __init__(self, weight: NonNegative = 0.1, temperature: Positive = 1.0) -> None:
        super().__init__(weight)
        self.temperature = temperature

    def term(self, h: Tensor, squares: Tensor, views: Views) -> Tensor:
        """See `Contrast.term`."""
        return (h / self.temperature).log_softmax(1).max(1).values


class TripletMargin(Contrast):
    """Adds how far a row is from the other view's mean, t = tanh(‖h − c'‖²/‖h − c‖²) (arXiv:2511.18567).

    c is the mean of the row's own view, positives or negatives, and c' that of the other; rows of further
    views have t = 0. t has no gradient: it moves the threshold of a row.

    Args:
        weight: w.
    """

    def __init__(self, weight: NonNegative = 0.1) -> None:
        super().__init__(weight)

    @torch.no_grad()
    def term(self, h: Tensor, squares: Tensor, views: Views) -> Tensor:
        """See `Contrast.term`."""
        separation = torch.zeros_like(squares)
        for own, other in (("positive", "negative"), ("negative", "positive")):
            rows = views.of(h, own)
            within = (rows - rows.mean(0)).square().sum(1)
            between = (rows - views.of(h, other).mean(0)).square().sum(1)
            views.of(separation, own).copy_((between / within.clamp_min(_SMALL)).tanh())
        return separation
