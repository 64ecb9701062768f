"""Square heads: squares of one linear map per class.

    z    = D ∗ h                            (R, K, *positions), a 1×1 convolution; dense: z = D h, (R, K)
    g_k  = mean over positions of z_k²      (R, K)

R rows; C channels or features of a token; K classes; D (K, C).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from ffcore.interfaces import Context, Goodness
from ffcore.interfaces.goodness import Form
from ffcore_local.heads import feature_dim


class SquareHead(Goodness):
    """Mean of squares of a 1×1 convolution with one channel per class.

    The goodness of Scalable Forward-Forward (Krutsylo 2025, arXiv:2501.03176). D learns with the block and is
    counted apart from the network. Without a bias a class can have a goodness near 0, which is the smallest.

    Args:
        bias: whether to add a bias before squaring.
        dim: for an activity of tokens, the dimension that holds the features: -1 for (T, D).
    """

    form: ClassVar[Form] = "class"
    linear: nn.Linear
    examples = ({"bias": True}, {"dim": 0})

    def __init__(self, bias: bool = False, dim: Annotated[int, Field(ge=-8, le=8)] | None = None) -> None:
        super().__init__()
        self.bias = bias
        self.dim = dim

    def setup(self, context: Context) -> None:
        """Make D.

        Raises:
            ValueError: when the dimension of the features is not known.
        """
        shape = context.shape
        try:
            self.axis = (feature_dim(shape, self.dim) or 0) + 1
        except ValueError as error:
            raise ValueError(f"goodness square-head: block {context.name}: {error}") from error
        self.linear = nn.Linear(shape[self.axis - 1], context.classes, bias=self.bias)

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R, K)."""
        # The features last: a linear map on them is a 1×1 convolution, and a view of a channels-last image.
        z: Tensor = self.linear(activity.movedim(self.axis, -1))
        z = z.to(torch.promote_types(z.dtype, torch.float32)).square()
        return z if z.dim() == 2 else z.flatten(1, -2).mean(1)
