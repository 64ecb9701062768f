"""A pattern for each class in a channel of its own: fixed and random, or learned with the first layer.

    pattern, random     x ← [x, Σ_k c_k P_k]     P_k uniform in 0 … 1, fixed
    pattern, one-hot    x ← [x, c]               c in the first K values of the channel, the others 0
    label-channel       h = body([x, Σ_k c_k E_k]),  E learned; c as it arrives, normalised or not

N samples; V views; K classes; x (N, C, H, W), or (N, D) rows, where the further channel is D further values;
c (V·N, K) the code, strength · one-hot; P, E (K, H·W).
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ffcore.interfaces import Component, Context
from ffcore.options import Positive
from ffcore.parts import part, path_of
from ffcore_ff.labels import Normalise, _OneHot, normalised


class Pattern(_OneHot):
    """Appends a channel with the pattern of the class. A row of a table gets as many values as it has.

    With random patterns it is the intrinsic class pattern of SymBa (Lee and Song 2023, arXiv:2303.08418), for
    every layer; the paper does not publish its patterns. With "one-hot" it is for a first layer of kind
    `label-channel`.

    Args:
        pattern: "random" numbers, fixed; or the "one-hot" code.
        strength: factor of the pattern.
        normalise: normalisation of the labelled input: "rms", "l2" or "none".
    """

    examples = ({"pattern": "one-hot", "normalise": "none"},)
    patterns: Tensor

    def __init__(
        self,
        pattern: Literal["random", "one-hot"] = "random",
        strength: Positive = 1.0,
        normalise: Normalise = "rms",
    ) -> None:
        super().__init__(strength, normalise)
        self.pattern = pattern

    def setup(self, context: Context) -> tuple[int, ...]:
        """(C, H, W) → (C + 1, H, W), and (D,) → (2 D,).

        Raises:
            ValueError: when samples are neither images nor rows, or the codes do not fit.
        """
        shape = super().setup(context)
        if len(shape) not in (1, 3):
            raise ValueError(f"labels pattern: needs images (C, H, W) or rows (D,), not samples of {shape}")
        values = math.prod(shape[-2:])
        if self.pattern == "random":
            self.register_buffer("patterns", torch.rand(context.classes, values))
        elif context.classes > values:
            raise ValueError(f"labels pattern: {context.classes} classes do not fit into {values} values")
        else:
            self.register_buffer("patterns", torch.eye(context.classes, values), persistent=False)
        return (2 * values,) if len(shape) == 1 else (shape[0] + 1, *shape[1:])

    def join(self, x: Tensor, code: Tensor) -> Tensor:
        """(N, *shape) and (V·N, K) → (V·N, *labelled shape)."""
        copies = x.repeat(code.shape[0] // x.shape[0], *[1] * (x.dim() - 1))
        channel = code.to(x.dtype) @ self.patterns.to(x.dtype)
        if x.dim() == 4:
            channel = channel.view(-1, 1, *x.shape[2:])
        return normalised(torch.cat([copies, channel], dim=1), self.normalise)


class LabelChannel(Component):
    """A first layer with a learned channel for each class (Trifecta, Dooms et al. 2023, arXiv:2311.18130).

    It reads inputs with the label code {kind: pattern, pattern: one-hot, normalise: none}. The channels learn
    with the block, from standard normal numbers.

    Args:
        in_shape: (C + 1, H, W) of one labelled input, or (2 D,); the builder supplies it.
        body: the layer, such as {kind: conv, channels: 64}, or a module.

    Raises:
        ValueError: when the block is not the first, or the label code is another one.
    """

    examples = ({"body": {"kind": "dense", "units": 8}},)

    def __init__(self, in_shape: tuple[int, ...], body: Any) -> None:
        super().__init__()
        self.body: nn.Module = part("body", body, f"{path_of(self, 'body')}.body", in_shape)
        self.values = in_shape[0] // 2 if len(in_shape) == 1 else math.prod(in_shape[1:])
        self.channels = nn.Parameter(torch.empty(0))

    def setup(self, context: Context) -> None:
        """Make the channels.

        Raises:
            ValueError: when the block is not the first, or the code does not fit.
        """
        if context.depth:
            raise ValueError("body label-channel: labels enter at the first block; use another body here")
        if context.classes > self.values:
            raise ValueError(
                f"body label-channel: {context.classes} classes, but a channel of {self.values} values; use "
                "it with the label code {kind: pattern, pattern: one-hot}"
            )
        if isinstance(self.body, Component):
            self.body.setup(context)
        like = next(self.body.parameters(), self.channels)
        self.channels = nn.Parameter(torch.randn(context.classes, self.values, dtype=like.dtype))

    def forward(self, x: Tensor) -> Tensor:
        """(R, C + 1, H, W) or (R, 2 D) → (R, *shape)."""
        if not self.channels.numel():  # the dry run comes before `setup`
            made: Tensor = self.body(x)
            return made
        rows, classes = x.flatten(1), len(self.channels)
        code = rows[:, -self.values :][:, :classes]
        channel = code @ self.channels.to(x.dtype)
        labelled: Tensor = self.body(torch.cat([rows[:, : -self.values], channel], dim=1).view_as(x))
        return labelled
