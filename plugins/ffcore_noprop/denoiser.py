"""One block of NoProp: class logits from an image and a noised label.

    i = image(x)                            any bodies in a row
    l = layer(z)
    logits = W layer'(layer''([i, l, z])) + b

R rows; K classes; U units of the layers; x (R, *in_shape); z (R, K); i (R, F); l (R, U); logits (R, K).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ffcore.errors import UserError
from ffcore.interfaces import Component
from ffcore.parts import part

LAYER = {"kind": "dense-bn", "units": 256, "activation": "relu"}
"""The layer of the label net and of the joined layers, if the recipe names none."""

EXAMPLE = {"image": [{"kind": "dense", "units": 8}], "layer": {"kind": "dense", "units": 8}}
"""Options with which the conformance kit tests components made of denoisers."""


class Denoiser(nn.Module):
    """Predicts the class from an image and a noised label; see the formulas of this module.

    Args:
        in_shape: shape of one image.
        classes: K.
        image: bodies, as recipe items.
        layer: the body of the layers, as a recipe item.
        path: where ``image`` and ``layer`` are in the recipe.
        gain: T (SNR(t) − SNR(t − 1)) of its step, which its loss reads.

    Raises:
        UserError: when a body does not take its input, or has a ``setup`` of its own.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        classes: int,
        image: Sequence[Any],
        layer: Any,
        path: str,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.gain = gain
        self.image = nn.Sequential()
        shape = in_shape
        for i, item in enumerate(image):
            shape = _append(self.image, item, shape, f"{path}.image.{i}")
        self.label, self.joined = nn.Sequential(), nn.Sequential()
        units = math.prod(_append(self.label, layer, (classes,), f"{path}.layer"))
        shape = (math.prod(shape) + units + classes,)
        for _ in range(2):
            shape = _append(self.joined, layer, shape, f"{path}.layer")
        self.joined.append(nn.Linear(math.prod(shape), classes))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """(R, *in_shape), (R, K) → (R, K)."""
        parts = (self.image(x).flatten(1), self.label(z), z)
        made: Tensor = self.joined(torch.cat(parts, 1))
        return made


def _append(bodies: nn.Sequential, item: Any, shape: tuple[int, ...], path: str) -> tuple[int, ...]:
    """Append a body for samples of this shape; return the shape of its output."""
    body: nn.Module = part("body", item, path, shape)
    if isinstance(body, Component):
        raise UserError(f"{path}: {type(body).__name__} is the body of a whole block; use another body here")
    try:
        with torch.no_grad():
            made = body.eval()(torch.zeros(2, *shape))
    except (ValueError, RuntimeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: does not take an input of shape {shape}: {reason}") from error
    finally:
        body.train()
    if not isinstance(made, Tensor) or made.dim() < 2 or len(made) != 2:
        raise UserError(f"{path}: it should return one tensor with a row for each sample")
    bodies.append(body)
    return tuple(made.shape[1:])
