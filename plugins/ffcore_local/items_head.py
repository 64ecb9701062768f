"""Heads of several layers: a small network on a block's own activity.

    a_0 = h                                 (R, *shape)
    a_i = body_i(a_{i−1})                   i = 1 … M
    g   = a_M                               (R, K)

R rows; K classes; M items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from ffcore.errors import UserError
from ffcore.interfaces import Component, Context, Goodness
from ffcore.interfaces.goodness import Form
from ffcore.parts import part, path_of


class ItemsHead(Goodness):
    """A network of bodies that ends in one value per class, trained with its block.

    The auxiliary networks of Belilovsky et al. 2020 (DGL, arXiv:1901.08164) have one or two convolutions, a
    mean over positions and dense layers. The gradient of the head reaches the block. The head is not part of
    the network: the next block does not see it, and its parameters are counted separately.

    Args:
        items: bodies in order, each a kind with its options, such as ``{kind: dense, units: 128}``, or a
            module. The value "classes" of an option is replaced by K. The last item returns (R, K), such as
            ``{kind: dense, units: classes, activation: identity}``.

    Raises:
        ValueError: when there are no items.
    """

    form: ClassVar[Form] = "class"
    layers: nn.Sequential
    examples = (
        {
            "items": [
                {"kind": "dense", "units": 16},
                {"kind": "dense", "units": "classes", "activation": "identity"},
            ]
        },
        {
            "items": [
                {"kind": "conv", "channels": 6, "stride": 2},
                {"kind": "pooled-dense", "units": "classes"},
            ]
        },
    )

    def __init__(self, items: Sequence[Any]) -> None:
        super().__init__()
        if not items:
            raise ValueError(
                "items: a head needs at least one item, such as {kind: dense, units: classes, "
                "activation: identity}"
            )
        # A tuple hides modules from torch: `setup` registers them once, in `layers`.
        self.items = tuple(items)

    def setup(self, context: Context) -> None:
        """Make the items for the shape of the activity.

        Raises:
            UserError: when an item is not a body, does not take its input, or the last one does not return
                (R, K).
        """
        path = f"{path_of(self, 'goodness')}.items"
        self.layers = nn.Sequential()
        # Two rows, as in the network's dry run.
        x = torch.zeros(2, *context.shape)
        for i, item in enumerate(self.items):
            x = self._add(item, f"{path}.{i}", x, context)
        if x.shape[1:] != (context.classes,):
            raise UserError(
                f"{path}.{len(self.items) - 1}: block {context.name}: the last item of items-head returns "
                f"{tuple(x.shape[1:])} for each sample; it should return ({context.classes},), one value "
                "per class: use {kind: dense, units: classes, activation: identity}"
            )

    def _add(self, item: Any, path: str, x: Tensor, context: Context) -> Tensor:
        """Append an item to the head and return its output for the input x."""
        shape = tuple(x.shape[1:])
        value: Any = item
        if isinstance(item, Mapping):
            value = {k: context.classes if v == "classes" and k != "kind" else v for k, v in item.items()}
        body: nn.Module = part("body", value, path, shape)
        body.eval()
        try:
            with torch.no_grad():
                made = body(x)
        except (ValueError, RuntimeError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"{path}: does not take an input of shape {shape}: {reason}") from error
        finally:
            body.train()
        if not isinstance(made, Tensor) or made.dim() < 2 or made.shape[0] != x.shape[0]:
            raise UserError(f"{path}: it should return one tensor with a row for each sample")
        if isinstance(body, Component):
            body.setup(replace(context, shape=tuple(made.shape[1:]), in_shape=shape))
        self.layers.append(body)
        return made

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R, K)."""
        made = cast(Tensor, self.layers(activity))
        return made.to(torch.promote_types(made.dtype, torch.float32))
