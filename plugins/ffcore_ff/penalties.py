"""Peer normalisation, a penalty on units with unusual mean activity.

    m ← μ m + (1 − μ) · mean_n h_n           running mean of the positives, constant in the gradient
    L = λ Σ_j (m_j − m̄) · mean_n h_nj;      ∂L/∂h_nj = λ (m_j − m̄)/N

N samples; h (N, *shape); m (*shape).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ffcore.interfaces import Block, Context, Out, Penalty, Views, ranks
from ffcore.options import BelowOne, NonNegative


class PeerNormalisation(Penalty):
    """Pulls the mean activity of every unit to that of its peers (Hinton's code).

    m ← μ m + (1 − μ) · batch mean of the positives. The term is λ Σ_j (m_j − m̄) · mean_n h_nj with m
    constant, so its gradient with respect to h_nj is λ (m_j − m̄)/N. With body activation "relu-pass-through"
    the gradient reaches silent units and revives them, as in Hinton's code; with "relu" it does not.

    Args:
        strength: λ, weight of the term.
        momentum: μ, share of the previous running mean in the next.
        start: running mean before the first batch.
    """

    running: Tensor

    def __init__(self, strength: NonNegative = 0.03, momentum: BelowOne = 0.9, start: float = 0.5) -> None:
        super().__init__()
        self.strength = strength
        self.momentum = momentum
        self.start = start

    def setup(self, context: Context) -> None:
        """Make the running means, one per unit."""
        self.register_buffer("running", torch.full(context.shape, self.start))

    def forward(self, out: Out, block: Block, views: Views) -> Tensor:
        """Return the weighted term; update the running means if the block learns."""
        mean = views.of(out.activity, "positive").mean(0)
        # A pass without learning must not change the means.
        if self.training and torch.is_grad_enabled():
            self.running.lerp_(_over_ranks(mean.detach(), views.samples).to(self.running), 1 - self.momentum)
        above_average = self.running - self.running.mean()
        return self.strength * (above_average * mean).sum()


def _over_ranks(mean: Tensor, samples: int) -> Tensor:
    """Return the mean over all ranks' samples. Only m needs it, since m is constant in the gradient."""
    group = ranks()
    if group.world == 1:
        return mean
    total = group.sum(torch.cat([(mean * samples).flatten(), mean.new_full((1,), samples)]))
    return (total[:-1] / total[-1]).view_as(mean)
