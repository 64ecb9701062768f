"""Penalties on which channels work for which classes.

C channels; K classes; W (C, K) the assignment of a block's `ChannelAssignment`.
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
    """Of blocks whose goodness is a `ChannelAssignment`."""

    def setup(self, context: Context) -> None:
        """Look at the block's goodness.

        Raises:
            ValueError: when it learns no assignment.
        """
        if not isinstance(context.goodness, ChannelAssignment):
            raise ValueError(
                f"penalties: the goodness of block {context.name} learns no assignment of channels to "
                "classes; give it goodness: channel-assignment, or leave them out"
            )

    @staticmethod
    def shares(block: Block) -> Tensor:
        """W (C, K) of the block."""
        return cast(ChannelAssignment, block.goodness).assignment()


class AssignmentEntropy(_OfAssignment):
    """λ E: draws each channel towards a single class (CAW-Conv, Ghader et al. 2026, arXiv:2606.09928).

    "scale-free": E = mean over channels of H(W_c)/ln K, from 0 to 1 whatever C and K, with
    H(w) = −Σ_k w_k ln(w_k + 1e-10). "released", as in the authors' code: E = (1/K) Σ_c H(W_c), whose strength
    grows with C/K.

    Args:
        form: of the two.
        weight: λ; None: 0.1 for scale-free, 0.01 for released.
    """

    examples = ({"form": "released"},)
    example_recipe: ClassVar[Mapping[str, Any]] = _RECIPE

    def __init__(self, form: Form = "scale-free", weight: NonNegative | None = None) -> None:
        super().__init__()
        self.form = form
        self.weight = weight if weight is not None else ENTROPY_WEIGHT[form]

    def forward(self, out: Out, block: Block, views: Views) -> Tensor:
        """The weighted term."""
        shares = self.shares(block)
        channels, classes = shares.shape
        entropy = -(shares * (shares + _EPS).log()).sum()
        parts = classes if self.form == "released" else channels * math.log(classes)
        return self.weight / parts * entropy


class AssignmentOrthogonality(_OfAssignment):
    """λ ρ(e) O: keeps the classes' channels apart (CAW-Conv, Ghader et al. 2026, arXiv:2606.09928).

    "scale-free": O = mean_ij (ŴᵀŴ − I)_ij², with Ŵ the W of columns of length 1, between 0 and 1 − 1/K.
    "released", as in the authors' code: O/(K² C), which is too small to change anything. ρ(e) = min(1, e/E)
    at epoch e.

    Args:
        form: of the two.
        weight: λ; None: 0.01 for scale-free, 0.001 for released.
        warmup: E; 0: from the start.
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
        """ρ(e)."""
        self.warmth.fill_(min(1.0, progress.epoch / self.warmup) if self.warmup else 1.0)

    def forward(self, out: Out, block: Block, views: Views) -> Tensor:
        """The weighted term."""
        shares = self.shares(block)
        channels, classes = shares.shape
        columns = F.normalize(shares, dim=0)
        overlap = product(columns.T, columns) - torch.eye(classes, dtype=shares.dtype, device=shares.device)
        parts = classes**2 * channels if self.form == "released" else 1
        return self.weight / parts * self.warmth * overlap.square().mean()
