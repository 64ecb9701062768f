"""Label codes: how a class is written into an input.

N samples; V views; K classes; D input features.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ffcore.interfaces import LabelCode, LabelledInput


class Overlay(LabelCode):
    """Writes the class over the first K features: one of them ``strength``, the others 0 (Hinton 2022, 3.3).

    The neutral code has strength/K in all of them.

    Args:
        strength: value of the class's feature.
        normalise: "rms" divides each labelled input by its root mean square, "l2" by its length, as a block
            does with what it hands on; "none" leaves it.
    """

    eye: Tensor

    def __init__(self, strength: float = 1.0, normalise: Literal["rms", "l2", "none"] = "rms") -> None:
        super().__init__()
        self.strength = strength
        self.normalise = normalise

    def prepare(self, shape: tuple[int, ...], classes: int) -> tuple[int, ...]:
        """Make the codes.

        Raises:
            ValueError: when an input has fewer features than there are classes.
        """
        if classes > math.prod(shape):
            raise ValueError(
                f"labels overlay: {classes} classes do not fit into {math.prod(shape)} input features"
            )
        self.register_buffer("eye", self.strength * torch.eye(classes), persistent=False)
        return shape

    def code(self, y: Tensor | None, n: int) -> Tensor:
        """(n, K) codes."""
        if y is None:
            return self.eye.mean(0, keepdim=True).expand(n, -1)
        return self.eye[y]

    def join(self, x: Tensor, code: Tensor) -> LabelledInput:
        """(N, *shape) and (V·N, K) → V·N labelled rows."""
        base = x.clone(memory_format=torch.contiguous_format)
        flat = base.flatten(1)  # a view of it
        flat[:, : code.shape[1]] = 0
        code = code.to(x.dtype)
        if self.normalise == "none":
            return LabelledInput(base, code)
        square = flat.square().sum(1).repeat(len(code) // len(x)) + code.square().sum(1)
        length = square.sqrt_().clamp_min_(1e-8)
        unit = math.sqrt(flat.shape[1]) if self.normalise == "rms" else 1.0
        return LabelledInput(base, code, (unit / length).unsqueeze(1))
