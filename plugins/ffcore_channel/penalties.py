"""Penalties on the assignment of channels to classes.

    H(W_c) = −Σ_k W_ck ln(W_ck + 1e-10)
    entropy:       E = mean_c H(W_c)/ln K           (scale-free),   Σ_c H(W_c)/K          (released)
    orthogonality: O = mean_ij (ŴᵀŴ − I)_ij²        (scale-free),   O/(K² C)              (released)

C channels; K classes; W (C, K) the assignment of a block's `ChannelAssignment`; Ŵ: W with columns of length
1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import Block, Context, Out, Penalty, Progress, Views
from ffcore.options import Natural, NonNegative
from ffcore_channel.assignment import ChannelAssignment
from ffcore_channel.pooling import product
from ffcore_channel.weights import ENTROPY_WEIGHT

Form = Literal["released", "scale-free"]
_EPS = 1e-10
_RECIPE = {"block": {"goodness": "channel-assignment", "objective": "cross-entropy"}}


class _OfAssignment(Penalty):
    """A penalty of blocks whose goodness is a `ChannelAssignment`."""

    def setup(self, context: Context) -> None:
        """Check the block's goodness.

        Raises:
            ValueError: when the goodness is not a `ChannelAssignment`.
        """
        if not isinstance(context.goodness, ChannelAssignment):
            raise ValueError(
                f"penalties: the goodness of block {context.name} does not learn an assignment of channels "
                "to classes; use goodness: channel-assignment, or leave the penalty out"
            )

    @staticmethod
    def shares(block: Block) -> Tensor:
        """Return W (C, K) of the block."""
        return cast(ChannelAssignment, block.goodness).assignment()


class AssignmentEntropy(_OfAssignment):
    """Entropy of each channel's class distribution, λ E (CAW-Conv).

    Ghader et al. 2026, arXiv:2606.09928. Minimising it gives each channel a single class. "scale-free": E is
    the mean over channels of H(W_c)/ln K, between 0 and 1 for any C and K, with
    H(w) = −Σ_k w_k ln(w_k + 1e-10). "released", as in the authors' code: E = (1/K) Σ_c H(W_c), which grows
    with C/K.

    Args:
        form: definition of E, "scale-free" or "released".
        weight: λ; None: 0.1 for scale-free, 0.01 for released.

    Raises:
        ValueError: when the goodness is not a `ChannelAssignment`, or there is one class.
    """

    examples = ({"form": "released"},)
    example_recipe: ClassVar[Mapping[str, Any]] = _RECIPE

    def __init__(self, form: Form = "scale-free", weight: NonNegative | None = None) -> None:
        super().__init__()
        self.form = form
        self.weight = weight if weight is not None else ENTROPY_WEIGHT[form]

    def setup(self, context: Context) -> None:
        """Check the block's goodness and the number of classes.

        Raises:
            ValueError: when the goodness is not a `ChannelAssignment`, or there is one class only: ln K is 0.
        """
        super().setup(context)
        context.refuse_one_class("penalty assignment-entropy", "the entropy")

    def forward(self, out: Out, block: Block, views: Views) -> Tensor:
        """Return the weighted term."""
        shares = self.shares(block)
        channels, classes = shares.shape
        # The added constant avoids log 0 for classes without a share.
        entropy = -(shares * (shares + _EPS).log()).sum()
        parts = classes if self.form == "released" else channels * math.log(classes)
        return self.weight / parts * entropy


class AssignmentOrthogonality(_OfAssignment):
    """Overlap of the classes' channels, λ ρ(e) O (CAW-Conv).

    Ghader et al. 2026, arXiv:2606.09928. "scale-free": O = mean_ij (ŴᵀŴ − I)_ij², with Ŵ the W of columns of
    length 1, between 0 and 1 − 1/K. "released", as in the authors' code: O/(K² C), which is too small to have
    an effect. ρ(e) = min(1, e/E) at epoch e.

    Args:
        form: definition of the term, "scale-free" or "released".
        weight: λ; None: 0.01 for scale-free, 0.001 for released.
        warmup: E, number of warm-up epochs; 0: full strength from the start.
    """

    warmth: Tensor
    examples = ({"form": "released"}, {"warmup": 0})
    example_recipe: ClassVar[Mapping[str, Any]] = _RECIPE

    def __init__(
        self, form: Form = "scale-free", weight: NonNegative | None = None, warmup: Natural = 50
    ) -> None:
        super().__init__()
        self.form = form
        self.weight = weight if weight is not None else {"scale-free": 1e-2, "released": 1e-3}[form]
        self.warmup = warmup
        self.register_buffer("warmth", torch.tensor(0.0 if warmup else 1.0))

    def advance(self, progress: Progress) -> None:
        """Update ρ(e)."""
        self.warmth.fill_(min(1.0, progress.epoch / self.warmup) if self.warmup else 1.0)

    def forward(self, out: Out, block: Block, views: Views) -> Tensor:
        """Return the weighted term."""
        shares = self.shares(block)
        channels, classes = shares.shape
        columns = F.normalize(shares, dim=0)
        # `product` disables autocast, which would round the overlaps.
        overlap = product(columns.T, columns) - torch.eye(classes, dtype=shares.dtype, device=shares.device)
        parts = classes**2 * channels if self.form == "released" else 1
        return self.weight / parts * self.warmth * overlap.square().mean()
