"""The algorithm of PEPITA: two forward passes, the second with the error added to the input.

    first pass     h_l, e = softmax(logits) − one-hot(y)
    second pass    h'_l from x' = x + e Fᵀ

N samples; K classes; D values of a sample; x, x' (N, *shape); e (N, K); F (D, K), fixed; h, h' activities.

The first pass is one without learning, the second one with it: parts that differ between them are refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.interfaces import Algorithm, Batch, Context, Network, Task, Views
from ffcore.options import Positive
from ffcore_local.handoffs import ChannelDropout
from ffcore_pepita.rule import FIRST
from ffcore_std.pointwise import output_layer

DROPOUT = (
    nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d | nn.AlphaDropout | nn.FeatureAlphaDropout
) | ChannelDropout


class Pepita(Algorithm):
    """Learns from the difference of two forward passes, without a backward pass.

    Dellaferrera and Kreiman 2022, arXiv:2201.11665. A linear output layer predicts. Its error, projected by a
    fixed random matrix, is added to the input of a second pass. Hidden blocks learn by the rule `pepita`,
    from both of their activities, and the output layer by the cross-entropy of the second pass. Both passes
    run without autocast, whose rounding would be a part of their difference.

    Args:
        scale: factor of F, whose entries are uniform in ±√(6/D).

    Raises:
        ValueError: when a block that learns, or a module between blocks, has dropout or running statistics.
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

    def connect(self, net: Network) -> None:
        """See `ffcore.interfaces.Algorithm.connect`.

        Raises:
            ValueError: when the two passes would differ by more than the error; see the class.
        """
        # a block without parameters to learn runs in evaluation mode in both passes
        blocks = {block.name: cast(nn.Module, block) for block in net.blocks}
        fixed = [b for b in blocks.values() if not any(p.requires_grad for p in b.parameters())]
        alike = {part for block in fixed for part in block.modules()}
        for part in (part for stage in net.stages for part in stage.modules()):
            if part not in alike and _differs(part):
                inside = [f"block {name}: " for name, block in blocks.items() if part in {*block.modules()}]
                raise ValueError(
                    f"pepita: {''.join(inside)}{type(part).__name__} differs between learning and "
                    "evaluation, and layers would learn from this difference of the two passes; use no "
                    "dropout, and norms of each sample, such as rms"
                )

    def learn(self, batch: Batch, net: Network) -> None:
        """Run both passes without autocast: h − h' is as small as bfloat16's rounding."""
        with torch.autocast(batch.x.device.type, enabled=False):
            super().learn(batch, net)

    def views(self, batch: Batch, net: Network) -> Views:
        """Run the first pass; return the modulated samples with its activities in ``extra``."""
        made = net.outputs(self.neutral(batch.x))
        logits = [out.goodness for out in made.values() if out.goodness is not None][-1]
        error = logits.softmax(1) - F.one_hot(batch.y, logits.shape[1])
        first = {FIRST + name: out.activity for name, out in made.items()}
        moved = batch.x + (error @ self.projection.T.to(error.dtype)).view_as(batch.x).to(batch.x.dtype)
        return Views(moved, ("modulated",), (moved.shape[0],), y=batch.y, extra=first)


def _differs(part: nn.Module) -> bool:
    """Return whether a module computes something else while it learns: dropout, running statistics.

    Layers that call torch's function of dropout, of torch and of the plugins, keep its share in ``dropout``.
    """
    share = part.p if isinstance(part, DROPOUT) else getattr(part, "dropout", 0.0)
    return getattr(part, "running_mean", None) is not None or (isinstance(share, float) and share > 0)
