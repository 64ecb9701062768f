"""Hinge losses of class goodness, and losses that are a sum over channels.

    class-hinge    L   = 1/N Σ_n Σ_k max(0, m + g_nk − g_ny)
    channel-hinge  L_c = 1/N Σ_n Σ_k max(0, m + s_nck − s_ncy);   L = Σ_c L_c

N samples; K classes; C channels; y the true class of sample n; g (N, K) goodness; s (N, C, K) the
similarities of the goodness `simplex`; m the margin.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ffcore.interfaces import Block, Context, LocalLoss, Objective, Out, Views
from ffcore.interfaces.goodness import Form
from ffcore.options import NonNegative
from ffcore_zero.simplex import Simplex


def violations(goodness: Tensor, y: Tensor, margin: float) -> Tensor:
    """Return Σ_k max(0, m + g_k − g_y), (N, *C, K) → (N, *C)."""
    true = goodness.gather(-1, y.view(-1, *(1,) * (goodness.dim() - 1)).expand(*goodness.shape[:-1], 1))
    return torch.relu(margin + goodness - true).sum(-1)


class Hinge(Objective):
    """Hinge loss of every class against the true one, Σ_k max(0, m + g_k − g_y).

    A mean over samples. The term of the true class, m, is a constant (Guo et al. 2026, arXiv:2603.24790).

    Args:
        margin: m.
    """

    accepts: ClassVar[Form] = "class"

    def __init__(self, margin: NonNegative = 0.3) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R, K) → a scalar."""
        return violations(goodness[: views.samples], self.targets(views), self.margin).mean()


class ChannelLoss(LocalLoss):
    """A local loss that is a sum over channels: the rule `directional` measures all of them in one pass."""

    @abstractmethod
    def of_channels(self, out: Out, block: Block, views: Views) -> Tensor:
        """Return the loss of each channel, (C,), means over samples. It depends on that channel alone."""

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """Return one term, "objective", the sum."""
        return {"objective": self.of_channels(out, block, views).sum()}


class ChannelHinge(ChannelLoss):
    """Hinge loss of every channel's similarities, a sum over channels and a mean over samples.

    Guo et al. 2026 (FFzero), arXiv:2603.24790.

    Args:
        margin: m.

    Raises:
        ValueError: when the block's goodness is not `simplex`.
    """

    reads_classes: ClassVar[bool] = True
    example_recipe: ClassVar[Mapping[str, Any]] = {"block": {"goodness": "simplex"}}

    def __init__(self, margin: NonNegative = 0.3) -> None:
        super().__init__()
        self.margin = margin

    def setup(self, context: Context) -> None:
        """Check the goodness.

        Raises:
            ValueError: see the class.
        """
        if not isinstance(context.goodness, Simplex):
            raise ValueError(
                f"loss channel-hinge: block {context.name} has no goodness simplex, which it reads"
            )

    def of_channels(self, out: Out, block: Block, views: Views) -> Tensor:
        """Return L_c, (C,); see `ChannelLoss.of_channels`."""
        assert isinstance(block.goodness, Simplex), "checked in setup"
        assert views.y is not None, "classes are learned from labelled samples"
        s = block.goodness.of_channels(out.activity[: views.samples])
        return violations(s, views.y, self.margin).mean(0)
