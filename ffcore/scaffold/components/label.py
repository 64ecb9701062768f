"""How a class is written into an input.

    code = one-hot(y), or 1/K for every class without y
    input = [x, code]          the code is appended to the flattened sample

N samples; V views; K classes; D values of a sample.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.interfaces import Context, LabelCode


class Mine(LabelCode):
    """Appends the one-hot class to the flattened sample."""

    def setup(self, context: Context) -> tuple[int, ...]:
        """Return the shape of a labelled input."""
        self.classes = context.classes
        return (math.prod(context.shape) + context.classes,)

    def code(self, y: Tensor | None, n: int) -> Tensor:
        """Return the codes (n, K) of classes (n,), or n neutral codes."""
        if y is None:
            return torch.full((n, self.classes), 1 / self.classes)
        return F.one_hot(y, self.classes).float()

    def join(self, x: Tensor, code: Tensor) -> Tensor:
        """Append codes (V·N, K) to samples (N, *shape), view by view."""
        views = len(code) // len(x)
        rows = x.flatten(1).repeat(views, 1)
        return torch.cat([rows, code.to(rows)], 1)
