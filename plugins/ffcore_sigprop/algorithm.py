"""The algorithm of signal propagation: two streams, the samples and one target for each class.

    rows of a pass    x_1 … x_N, then t_1 … t_K     t_k: e_k in the first K values of a sample, else 0

N samples; K classes; e_k the one-hot vector of class k.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from ffcore.interfaces import Algorithm, Batch, Context, Network, Task, Views
from ffcore_std.pointwise import output_layer

BATCH_NORM = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


class SignalPropagation(Algorithm):
    """Samples and targets pass the same layers; a layer makes a sample similar to the target of its class.

    Kohan, Rietman and Siegelmann 2023, arXiv:2204.01723. The target of a class is a row of the pass after the
    samples, with the role "targets": its one-hot vector, written into the first values of an empty sample. A
    first layer of kind `signal-input` has a generator of its own for them. Goodness is `signal-similarity`,
    the loss `signal`. The authors send one target a sample; K are enough where layers treat rows alike, since
    equal rows have equal activities.

    Args:
        output: whether a linear output layer, which learns by cross-entropy, follows the last block, as in
            the paper. Without it the similarities predict.
    """

    example_recipe: ClassVar[Mapping[str, Any]] = {
        "block": {"goodness": "signal-similarity", "loss": "signal", "handoff": "rms"}
    }

    def __init__(self, output: bool = True) -> None:
        super().__init__()
        self.output = output
        self.classes = 0

    def setup(self, context: Context) -> tuple[int, ...]:
        """See `ffcore.interfaces.Algorithm.setup`.

        Raises:
            ValueError: when a sample has fewer values than there are classes.
        """
        if math.prod(context.shape) < context.classes:
            raise ValueError(
                f"signal-propagation: a sample of shape {context.shape} has fewer values than there are "
                f"classes, {context.classes}: a target does not fit into it"
            )
        self.classes = context.classes
        return context.shape

    def connect(self, net: Network) -> None:
        """Warn of batch norm, which does not treat the rows of samples and targets alike."""
        for block in net.blocks:
            if any(isinstance(part, BATCH_NORM) for part in cast(nn.Module, block).modules()):
                warnings.warn(
                    f"signal-propagation: block {block.name} has batch norm, whose running statistics mix "
                    "samples and targets: validation differs from learning; use a norm of each sample, such "
                    "as conv-instance-norm",
                    stacklevel=2,
                )
                return

    def head_for(self, task: Task | None) -> Mapping[str, Any] | None:
        """Return the output layer. The recipe's loss and rule are for hidden blocks."""
        if not self.output:
            return None
        block: Mapping[str, Any] = {"penalties": {}, "handoff": None, "rule": None, "per_view": False}
        return {**output_layer(task, block), "init": "uniform", "name": "output"}

    def views(self, batch: Batch, net: Network) -> Views:
        """Return the samples, then the targets."""
        return self._with_targets(batch.x, batch.y)

    def evidence(self, x: Tensor, net: Network) -> list[Tensor]:
        """Return the similarity of every sample to the target of every class, (N, K) of each block."""
        return [of_block[: x.shape[0]] for of_block in net.goodness(self._with_targets(x))]

    def _with_targets(self, x: Tensor, y: Tensor | None = None) -> Views:
        n, k = x.shape[0], self.classes
        targets = x.new_zeros(k, *x.shape[1:])
        targets.flatten(1)[:, :k] = torch.eye(k, dtype=x.dtype, device=x.device)
        return Views(torch.cat([x, targets]), ("all", "targets"), (n, k), y=y)
