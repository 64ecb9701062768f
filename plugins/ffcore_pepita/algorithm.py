"""The algorithm of PEPITA: two forward passes, the second with the error added to the input.

    first pass     h_l, e = softmax(logits) − one-hot(y)
    second pass    h'_l from x' = x + e Fᵀ

N samples; K classes; D values of a sample; x, x' (N, *shape); e (N, K); F (D, K), fixed; h, h' activities.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import Algorithm, Batch, Context, Network, Task, Views
from ffcore.options import Positive
from ffcore_pepita.rule import FIRST
from ffcore_std.pointwise import output_layer


class Pepita(Algorithm):
    """Learns from the difference of two forward passes, without a backward pass.

    Dellaferrera and Kreiman 2022, arXiv:2201.11665. A linear output layer predicts. Its error, projected by a
    fixed random matrix, is added to the input of a second pass. Hidden blocks learn by the rule `pepita`,
    from both of their activities, and the output layer by the cross-entropy of the second pass.

    Args:
        scale: factor of F, whose entries are uniform in ±√(6/D).
    """

    whole_network = "the error of the output layer enters with the input"
    block: ClassVar[Mapping[str, Any]] = {"goodness": None, "objective": None, "rule": "pepita"}
    example_recipe: ClassVar[Mapping[str, Any]] = {
        "network": [{"kind": "dense", "units": 24}],
        "block": {"handoff": None},
        "optimizer": {"kind": "sgd", "lr": 0.1, "momentum": 0.9},
    }
    projection: Tensor

    def __init__(self, scale: Positive = 0.05) -> None:
        super().__init__()
        self.scale = scale

    def setup(self, context: Context) -> tuple[int, ...]:
        """Draw F."""
        values = math.prod(context.shape)
        bound = self.scale * math.sqrt(6 / values)
        self.register_buffer("projection", torch.empty(values, context.classes).uniform_(-bound, bound))
        return context.shape

    def head_for(self, task: Task | None) -> Mapping[str, Any] | None:
        """Return the output layer."""
        layer = output_layer(task, {"rule": None, "handoff": None})
        return {**layer, "bias": False, "init": "uniform", "name": "output"}

    def views(self, batch: Batch, net: Network) -> Views:
        """Run the first pass; return the modulated samples with its activities in ``extra``."""
        made = net.outputs(self.neutral(batch.x))
        logits = [out.goodness for out in made.values() if out.goodness is not None][-1]
        error = logits.softmax(1) - F.one_hot(batch.y, logits.shape[1])
        first = {FIRST + name: out.activity for name, out in made.items()}
        moved = batch.x + (error @ self.projection.T.to(error.dtype)).view_as(batch.x).to(batch.x.dtype)
        return Views(moved, ("modulated",), (moved.shape[0],), y=batch.y, extra=first)
