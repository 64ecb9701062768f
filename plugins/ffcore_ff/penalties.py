"""Penalties beside the objective."""

from __future__ import annotations

import torch
from torch import Tensor

from ffcore.interfaces import Block, Context, Out, Penalty, Views, ranks
from ffcore.options import BelowOne, NonNegative


class PeerNormalisation(Penalty):
    """Draws every unit's mean activity towards that of its peers (Hinton's code).

    m ← μ m + (1 − μ) · batch mean of the positives, and the term is λ Σ_j (m_j − m̄) · mean_n h_nj with m held
    constant, so that its gradient on h_nj is λ (m_j − m̄)/N. With body activation "relu-pass-through" the
    gradient reaches silent units and revives them, as in Hinton's code; with "relu" it does not.

    Args:
        strength: λ.
        momentum: μ.
        start: m before the first batch.
    """

    running: Tensor

    def __init__(self, strength: NonNegative = 0.03, momentum: BelowOne = 0.9, start: float = 0.5) -> None:
        super().__init__()
        self.strength = strength
        self.momentum = momentum
        self.start = start

    def setup(self, context: Context) -> None:
        """Make the running means, one a unit."""
        self.register_buffer("running", torch.full(context.shape, self.start))

    def forward(self, out: Out, block: Block, views: Views) -> Tensor:
        """The weighted term; moves the running means on when it is used for learning."""
        mean = views.of(out.activity, "positive").mean(0)
        if self.training and torch.is_grad_enabled():
            self.running.lerp_(_over_ranks(mean.detach(), views.samples).to(self.running), 1 - self.momentum)
        pull = self.running - self.running.mean()
        return self.strength * (pull * mean).sum()


def _over_ranks(mean: Tensor, samples: int) -> Tensor:
    """The mean over all ranks' samples; only this has to be gathered, m is constant in the gradient."""
    group = ranks()
    if group.world == 1:
        return mean
    total = group.sum(torch.cat([(mean * samples).flatten(), mean.new_full((1,), samples)]))
    return (total[:-1] / total[-1]).view_as(mean)
