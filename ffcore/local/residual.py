"""Residual shortcuts without parameters. R rows.

    add:         z = s + items(x)
    concat:      z = [s, items(x)] along dimension 1
    concat-last: z = [items(x), s]

s is x (R, *shape), average-pooled to the image size of items(x) if that is smaller.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.interfaces import dense
from ffcore.local.current import current

Merge = Literal["add", "concat", "concat-last"]


class Residual(nn.Module):
    """``merge(x, items(x))`` with a shortcut that has no parameters.

    The shortcut is part of the graph only within one window; across windows it is detached. If the items
    reduce the size of an image, the shortcut is average-pooled to that size, which has to divide its own.

    Args:
        items: the stages that the shortcut goes around.
        merge: "add", which needs equal shapes; "concat" or "concat-last" on dimension 1, with the shortcut
            first or last.
    """

    def __init__(self, items: nn.Sequential, merge: Merge = "add") -> None:
        super().__init__()
        self.items = items
        self.merge = merge

    def forward(self, x: Tensor) -> Tensor:
        """Return (R, *shape) for "add", more features otherwise; raises as `merged` does."""
        here = current()
        return here.around(self, x) if here is not None else self.merged(x, self.items(x), attached=True)

    def merged(self, x: Tensor, y: Tensor, attached: bool) -> Tensor:
        """Merge the input of the items with their output.

        Args:
            x: (R, *shape) input.
            y: (R, *shape') output of the items.
            attached: whether the shortcut is part of the graph.

        Raises:
            ValueError: when the two shapes cannot be merged.
        """
        shortcut = dense(x)
        if not attached:
            shortcut = shortcut.detach()
        shortcut = _pooled(shortcut, y)
        if self.merge == "add":
            if shortcut.shape != y.shape:
                _refuse_places(shortcut, y)
                raise ValueError(
                    f"a residual cannot add {tuple(y.shape[1:])} to its input {tuple(shortcut.shape[1:])}; "
                    "use merge: concat or equal widths"
                )
            return shortcut + y
        if shortcut.shape[2:] != y.shape[2:]:
            _refuse_places(shortcut, y)
            raise ValueError(
                f"a residual cannot concatenate {tuple(y.shape[1:])} to {tuple(shortcut.shape[1:])}, its "
                "input: all dimensions but the first must agree"
            )
        return torch.cat([shortcut, y] if self.merge == "concat" else [y, shortcut], dim=1)


def _pooled(shortcut: Tensor, like: Tensor) -> Tensor:
    """Average-pool an image to the size of ``like``, if that size divides its own."""
    before, after = shortcut.shape[2:], like.shape[2:]
    if len(before) != 2 or len(after) != 2 or before == after:
        return shortcut
    sides = [side // small for side, small in zip(before, after, strict=True)]
    exact = all(side == s * small for side, s, small in zip(before, sides, after, strict=True))
    return F.avg_pool2d(shortcut, sides) if exact else shortcut


def _refuse_places(shortcut: Tensor, y: Tensor) -> None:
    before, after = ("×".join(map(str, t.shape[2:])) for t in (shortcut, y))
    if shortcut.dim() == y.dim() == 4 and before != after:
        raise ValueError(
            f"a residual cannot average {before} pixels to {after}: a stride has to divide the image; use "
            "images whose sides are multiples of the product of all strides"
        )
