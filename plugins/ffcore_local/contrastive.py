"""Contrast of two views of a batch, on the activity of a block.

    z = f / √(|f|² + 10⁻⁶ D),  f = P · mean over positions of h               (2N, D)
    nt-xent           L = −(1/2N) Σ_i ln [exp(z_i·z_i'/T) / Σ_{k≠i} exp(z_i·z_k/T)]
    margin-contrast   L = −(1/2N) Σ_i mean_{p ∈ P(i)} ln [exp(s_ip/T) / Σ_{k≠i} exp(s_ik/T)]
                      s_ik = min(z_i·z_k + m, 1) for k ∈ P(i), z_i·z_k for others

N samples; 2N rows, the first views before the second ones; i' the other view of row i's sample; P(i) the
other rows of its class; P a linear projection that learns with the block, or the identity; T the temperature;
m the margin.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.interfaces import Block, Context, Out, Penalty, Views
from ffcore.options import NonNegative, Positive, Size
from ffcore_channel.contrast import supervised_contrast
from ffcore_local.heads import feature_dim

_EPS = 1e-6


def nt_xent(z: Tensor, temperature: float) -> Tensor:
    """Return the normalised temperature-scaled cross-entropy of 2N rows of length 1; see the module.

    >>> z = torch.eye(2).repeat(2, 1)  # two samples, both views of each are equal
    >>> round(float(nt_xent(z, 1.0)), 4), round(math.log(1 + 2 / math.e), 4)
    (0.5514, 0.5514)
    """
    n = z.shape[0] // 2
    own = torch.eye(2 * n, dtype=torch.bool, device=z.device)
    similar = (z @ z.T / temperature).masked_fill(own, -math.inf)
    other = torch.arange(2 * n, device=z.device).roll(n)
    return F.cross_entropy(similar, other)


class NTXent(Penalty):
    """Contrast of the two views of every sample with the views of all others of the batch.

    SimCLR's loss (Chen et al. 2020, arXiv:2002.05709) on the activity of every block, as in greedy
    self-supervised learning (Löwe et al. 2019, arXiv:1905.11786; Xiong et al. 2020, arXiv:2008.01342). It
    needs two views of each sample, as of the algorithm `two-views`. The term of a single sample is 0.

    Args:
        weight: factor of the term.
        temperature: T.
        width: D, features of the projection P; null: no projection.
        dim: the dimension of an activity that holds its features: 0 for signals (C, T), -1 for tokens (T, D);
            null for rows (U,) and images (C, H, W). The mean is over the others.

    Raises:
        ValueError: when the features of an activity are not known without ``dim``.
    """

    kind: ClassVar[str] = "nt-xent"
    couples_samples: ClassVar[bool] = True
    teaches: ClassVar[bool] = True

    def __init__(
        self,
        weight: NonNegative = 1.0,
        temperature: Positive = 0.5,
        width: Size | None = 64,
        dim: Literal[0, -1] | None = None,
    ) -> None:
        super().__init__()
        self.weight, self.temperature = weight, temperature
        self.width, self.dim = width, dim
        self.projection: nn.Module = nn.Identity()

    def setup(self, context: Context) -> None:
        """Make the projection."""
        try:
            self.features = feature_dim(context.shape, self.dim) or 0
        except ValueError as error:
            raise ValueError(f"penalty {self.kind}: block {context.name}: {error}") from error
        if self.width is not None:
            self.projection = nn.Linear(context.shape[self.features], self.width, bias=False)

    def forward(self, out: Out, block: Block, views: Views) -> Tensor:
        """Return the weighted term.

        Raises:
            ValueError: when there are other views.
        """
        if len(views.sizes) != 2 or views.sizes[0] != views.sizes[1]:
            given = ", ".join(views.roles)
            raise ValueError(
                f"penalty {self.kind}: needs two views of each sample, as of two-views, not {given}"
            )
        h = out.activity
        features = h.movedim(self.features + 1, -1).flatten(1, -2).mean(1) if h.dim() > 2 else h
        # Autocast would round the similarities of nearly equal rows.
        with torch.autocast(h.device.type, enabled=False):
            made = self.projection(features.to(torch.promote_types(features.dtype, torch.float32)))
            # not F.normalize, whose gradient at a row of zeros is 10¹²
            length = (made.square().sum(1, keepdim=True) + _EPS * made.shape[1]).sqrt()
            return self.weight * self.contrast(made / length, views)

    def contrast(self, z: Tensor, views: Views) -> Tensor:
        """Return the term of 2N rows of length 1, without its weight."""
        return nt_xent(z, self.temperature)


class MarginContrast(NTXent):
    """Contrast of both views with all rows of other classes, with a margin for rows of the same class.

    The local loss of contrastive Forward-Forward for vision transformers (arXiv:2502.00571, from the authors'
    code): supervised contrast (Khosla et al. 2020, arXiv:2004.11362) in which the cosines of rows of one
    class are raised by a margin, up to 1. The margin falls linearly from the first block to the last. It
    needs two views of each sample, as of the algorithm `two-views`, and their classes.

    Args:
        weight: factor of the term.
        temperature: T.
        first: margin of the first block of the network.
        last: margin of the last block.
        width: as for `nt-xent`.
        dim: as for `nt-xent`.
    """

    kind: ClassVar[str] = "margin-contrast"
    reads_classes: ClassVar[bool] = True

    def __init__(
        self,
        weight: NonNegative = 1.0,
        temperature: Positive = 0.15,
        first: NonNegative = 0.4,
        last: NonNegative = 0.1,
        width: Size | None = None,
        dim: Literal[0, -1] | None = None,
    ) -> None:
        super().__init__(weight, temperature, width, dim)
        self.first, self.last = first, last
        self.margin = first

    def setup(self, context: Context) -> None:
        """Make the projection, and compute the margin of the block."""
        super().setup(context)
        self.margin = self.first + (self.last - self.first) * context.depth / max(1, context.blocks - 1)

    def contrast(self, z: Tensor, views: Views) -> Tensor:
        """See `NTXent.contrast`."""
        assert views.y is not None, "reads_classes"
        return supervised_contrast(z, views.y.repeat(2), self.temperature, self.margin)
