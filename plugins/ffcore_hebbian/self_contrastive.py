"""Self-contrastive Forward-Forward (SCFF): pairs of samples in place of positive and negative data.

    u_n = W x_n + b                                       what a block makes of a sample
    G⁺_n = mean_c ReLU(2 u_n)²                            the pair (x_n, x_n) through the same weights, summed
    G⁻_nm = mean_c ReLU(u_n + u_m)²                       the pair (x_n, x_m), m another sample of the batch
    L = mean softplus(θ⁺ − G⁺) + mean softplus(G⁻ − θ⁻) + λ mean_n ‖G⁺_n‖₂

N samples; C channels or units; P positions, 1 of a dense activity; Q partners m of a sample; u (N, C, *P);
G⁺ (N, *P), G⁻ (N, Q, *P); the means are over samples, partners and positions. Both kinds of pairs need one
forward pass, since the layer is affine before its activation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.errors import UserError
from ffcore.interfaces import Batch, Block, LocalLoss, Network, Out, Unlabelled, Views
from ffcore.options import Count, NonNegative

PARTNERS = "partners"
"""Name in ``Views.extra``: (N, Q) rows of the global batch, the partners of each sample."""


class SelfContrastive(Unlabelled):
    """Draws the partners of every sample for negative pairs; readouts learn the targets.

    Chen, Liu, Laydevant and Grollier 2025, arXiv:2409.11593. A block has the loss `self-contrastive`, a body
    that ends before its activation, and a handoff with the activation, such as `triangle`. Partners are
    uniform over the other samples of the batch.

    Args:
        partners: number of negative pairs of a sample, Q.
    """

    example_recipe: ClassVar[Mapping[str, Any]] = {
        "network": [{"kind": "dense", "units": 12, "activation": "identity"}],
        "block": {"loss": "self-contrastive", "handoff": "triangle"},
        "readouts": {"readout": "softmax"},
    }

    def __init__(self, partners: Count = 1) -> None:
        super().__init__()
        self.partners = partners

    def views(self, batch: Batch, net: Network) -> Views:
        """Return the samples as one view, with their partners. A single sample left over has none.

        Raises:
            UserError: when the first batch has one sample.
        """
        rng = batch.random()
        if rng.total == 1 and rng.step == 0:
            raise UserError(
                "algorithm self-contrastive: a batch of one sample has no negative pairs; use larger batches"
            )
        own = torch.arange(rng.first, rng.first + rng.rows, device=rng.device).unsqueeze(1)
        others = rng.integers("partners", max(1, rng.total - 1), self.partners if rng.total > 1 else 0)
        return Views(
            batch.x, ("all",), (rng.rows,), y=batch.y, extra={PARTNERS: (own + 1 + others) % rng.total}
        )


class SelfContrastiveLoss(LocalLoss):
    """softplus(θ⁺ − G⁺) + softplus(G⁻ − θ⁻) + λ ‖G⁺‖₂; see the formulas of this module.

    The activity is taken before its activation. Without an activation after it the next block would read what
    the loss makes large, whatever its sign; the handoff `triangle` has one.

    Args:
        positive: θ⁺.
        negative: θ⁻.
        penalty: λ.
    """

    couples_samples = True

    def __init__(
        self, positive: NonNegative = 1.0, negative: NonNegative = 1.0, penalty: NonNegative = 0.0
    ) -> None:
        super().__init__()
        self.positive, self.negative, self.penalty = positive, negative, penalty

    @staticmethod
    def example_views(views: Views) -> Views:
        """Return views with partners, for the conformance kit."""
        return replace(views, extra={PARTNERS: torch.arange(views.samples).roll(1).unsqueeze(1)})

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """Return the terms "positive", "negative" if there are pairs and, with a λ, "penalty".

        Raises:
            UserError: when no partners have been drawn.
        """
        partners = views.extra.get(PARTNERS)
        if partners is None:
            raise UserError("loss self-contrastive: there are no pairs; use the algorithm self-contrastive")
        # squares of sums need more digits than bfloat16 has
        u = out.activity.to(torch.promote_types(out.activity.dtype, torch.float32))
        together = u.unsqueeze(1) + u[partners]
        positive, negative = F.relu(2 * u).square().mean(1), F.relu(together).square().mean(2)
        terms = {"positive": F.softplus(self.positive - positive).mean()}
        if partners.shape[1]:
            terms["negative"] = F.softplus(negative - self.negative).mean()
        if self.penalty:
            terms["penalty"] = self.penalty * positive.reshape(len(u), -1).norm(dim=1).mean()
        return terms


class Triangle(nn.Module):
    """ReLU(h − mean_c h): a channel hands on by how much it exceeds the mean channel at its position."""

    def forward(self, activity: Tensor) -> Tensor:
        """(R, C, *) → (R, C, *)."""
        return triangle(activity)


def triangle(u: Tensor) -> Tensor:
    """Return ReLU(u − mean_c u), (R, C, *) → (R, C, *)."""
    return F.relu(u - u.mean(1, keepdim=True))
