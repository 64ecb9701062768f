"""The first layer of signal propagation: samples and targets enter by bodies of their own.

    h = body(x)                    samples (N, *shape)
    t = relu(LN(W e))              targets (K, *shape); e the first K values of a row, its one-hot vector

N samples; K classes; LN layer norm over all values of a row.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from ffcore.interfaces import Component, Context
from ffcore.parts import part, path_of


class SignalInput(Component):
    """A body for the samples, and a generator of targets of the shape of its output.

    Args:
        in_shape: shape of one input sample; the builder supplies it.
        body: the body of the samples, such as {kind: dense, units: 500}, or a module.
        targets: whether the generator learns with the block, or stays as it is drawn.
    """

    reads_role: ClassVar[bool] = True
    example_roles: ClassVar[tuple[str, ...]] = ("targets",)
    examples = (
        {"body": {"kind": "dense", "units": 8}},
        {"body": {"kind": "dense", "units": 8}, "targets": "fixed"},
    )

    def __init__(
        self,
        in_shape: tuple[int, ...],
        body: Any,
        targets: Literal["learned", "fixed"] = "learned",
    ) -> None:
        super().__init__()
        self.body: nn.Module = part("body", body, f"{path_of(self, 'body')}.body", in_shape)
        self.targets = targets
        self.generator = nn.Sequential()

    def setup(self, context: Context) -> None:
        """Make the generator for the shape of the activity.

        Raises:
            ValueError: when the block is not the first.
        """
        if context.depth:
            raise ValueError("body signal-input: targets enter at the first block; use another body here")
        if isinstance(self.body, Component):
            self.body.setup(context)
        self.classes, self.shape = context.classes, context.shape
        values = math.prod(context.shape)
        linear = nn.Linear(context.classes, values, bias=False)
        self.generator = nn.Sequential(linear, nn.LayerNorm(values), nn.ReLU())
        if (of_body := next(self.body.parameters(), None)) is not None:
            self.generator.to(of_body.dtype)
        self.generator.requires_grad_(self.targets == "learned")

    def forward(self, x: Tensor, role: str = "all") -> Tensor:
        """(R, *in_shape) → (R, *shape); see the formulas of this module."""
        if role != "targets":
            made: Tensor = self.body(x)
            return made
        codes = x.flatten(1)[:, : self.classes]
        generated: Tensor = self.generator(codes)
        return generated.view(-1, *self.shape)
