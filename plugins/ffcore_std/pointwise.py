"""A linear layer of every position, and the output layers of tasks.

    h_p = f(W x_p + b)        p a position: a token, or a pixel

R rows; D features in, U out; x (R, T, D) or (R, D, *positions).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from ffcore.interfaces import Task
from ffcore.options import Size
from ffcore_std.activations import ACTIVATIONS, ActivationName


class Pointwise(nn.Module):
    """Linear layer of every position, h_p = f(W x_p + b).

    Args:
        in_shape: (T, D), or (D, *positions) with ``features`` 0; the builder supplies it.
        units: number of outputs U.
        features: the dimension of a sample that holds the features: -1 for tokens, 0 for images.
        activation: f: relu, leaky-relu, relu-pass-through, tanh or identity.

    Raises:
        ValueError: when samples have no positions.
    """

    examples = ({"units": 3, "features": 0},)

    def __init__(
        self,
        in_shape: tuple[int, ...],
        units: Size,
        features: Literal[-1, 0] = -1,
        activation: ActivationName = "relu",
    ) -> None:
        super().__init__()
        if len(in_shape) < 2:
            raise ValueError(f"pointwise: an input {in_shape} has no positions; use dense")
        self.features = features
        self.linear = nn.Linear(in_shape[features], units)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """(R, T, D) → (R, T, U), or (R, D, *positions) → (R, U, *positions)."""
        by_position = x if self.features == -1 else x.movedim(1, -1)
        made: Tensor = self.activation.function(self.linear(by_position))
        return made if self.features == -1 else made.movedim(-1, 1)


OBJECTIVES = {"class": "cross-entropy", "labels": "binary-cross-entropy", "values": "squared-error"}
"""The objective of an output layer, by the sort of targets."""


def output_layer(task: Task | None, block: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """Return the item of a linear output layer that suits a task. The builder replaces "classes" by K.

    Args:
        task: what the targets are; None for classes.
        block: settings of its block, beside goodness and objective.
        options: further options of the objective.
    """
    features = None if task is None else task.features
    kind = {"kind": "dense"} if features is None else {"kind": "pointwise", "features": features}
    objective = OBJECTIVES["class" if task is None else task.target]
    return {
        **kind,
        "units": "classes",
        "activation": "identity",
        "block": {"goodness": "logits", "objective": {"kind": objective, **options}, **block},
    }
