"""Heads without backpropagation through their own weights: random target codes and feedback alignment.

    o    = D f + b                                          (R, B)
    t_k  = (1 + sign(P onehot_k))/2                         (K, B), bits 0 and 1
    g_k  = Σ_b t_kb ln σ(o_b) + (1 − t_kb) ln(1 − σ(o_b))   (R, K)
         = Σ_b t_kb o_b − Σ_b ln(1 + exp o_b)
    L    = −(w/N) Σ_n g_n,y(n)

    backward: ∂L/∂f = Fᵀ ∂L/∂o with a fixed random F (B, F) in place of D

R rows; N samples; B bits of a code; K classes; f (R, F) features; P (B, K) random; σ logistic; w the weight.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.interfaces import Context, Goodness, Objective, Views
from ffcore.interfaces.goodness import Form
from ffcore.options import NonNegative, Size
from ffcore_local.heads import Pooled

_TRIES = 100


class _FeedbackAlignment(torch.autograd.Function):
    """x Wᵀ + b, whose gradient for x uses a fixed matrix in place of W."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, feedback: Tensor) -> Tensor:
        ctx.save_for_backward(x, feedback)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, feedback = ctx.saved_tensors
        (up,) = grads
        return up @ feedback, up.T @ x, up.sum(0), None


def codes(classes: int, bits: int) -> Tensor:
    """Return a random code of bits, 0 or 1, for each class, (K, B). No two are equal.

    Raises:
        ValueError: when there are too few bits for different codes.
    """
    for _ in range(_TRIES):
        made = (torch.randn(classes, bits) > 0).to(torch.get_default_dtype())
        if len(set(map(tuple, made.tolist()))) == classes:
            return made
    raise ValueError(
        f"bits: {bits} random bits are too few for {classes} classes with different codes; use {4 * bits} or "
        "more"
    )


class TargetCodes(Goodness):
    """Log-likelihood of a fixed random code of bits for each class.

    The "pred" loss without weight transport of Nøkland and Eidnes 2019 (arXiv:1901.06656), with the objective
    `likelihood`: a decoder learns the code of the class by binary cross-entropy, and its gradient for the
    block uses a fixed random matrix instead of its weights (feedback alignment).

    Args:
        bits: number of bits B; 128 in the paper.
        feedback: whether the block's gradient uses the fixed random matrix. false: the true gradient.
        features: largest number F of features of an image: its pixels are averaged in cells until there are
            not more. null: no pooling.
        grid: number of cells of a side, in place of ``features``: 1 averages all pixels.
        dim: for an activity of tokens, the dimension that holds the features: -1 for (T, D).
    """

    form: ClassVar[Form] = "class"
    codes: Tensor
    feedback: Tensor
    examples = ({"bits": 16, "feedback": False}, {"bits": 32, "features": None})

    def __init__(
        self,
        bits: Size = 128,
        feedback: bool = True,
        features: Size | None = 2048,
        grid: Size | None = None,
        dim: Annotated[int, Field(ge=-8, le=8)] | None = None,
    ) -> None:
        super().__init__()
        self.bits = bits
        self.aligned = feedback
        self.options = (features if grid is None else None, grid, dim)

    def setup(self, context: Context) -> None:
        """Make the codes, the decoder and the feedback matrix.

        Raises:
            ValueError: when the pooling does not fit the activity, or there are too few bits.
        """
        try:
            self.pooled = Pooled(context.shape, *self.options)
            made = codes(context.classes, self.bits)
        except ValueError as error:
            raise ValueError(f"goodness target-codes: block {context.name}: {error}") from error
        self.decoder = nn.Linear(self.pooled.features, self.bits)
        self.register_buffer("codes", made)
        if self.aligned:
            # The distribution of the decoder's own initial weights, so that the gradients have its scale.
            other = nn.Linear(self.pooled.features, self.bits, bias=False)
            self.register_buffer("feedback", other.weight.detach().clone())

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R, K)."""
        f = self.pooled(activity)
        weight, bias = self.decoder.weight, self.decoder.bias
        # A custom function saves tensors of the type that it sees: autocast would mix two types in backward.
        with torch.autocast(f.device.type, enabled=False):
            f = f.to(weight.dtype)
            if self.aligned:
                o: Tensor = _FeedbackAlignment.apply(f, weight, bias, self.feedback)  # type: ignore[no-untyped-call]
            else:
                o = F.linear(f, weight, bias)
            o = o.to(torch.promote_types(o.dtype, torch.float32))
            return o @ self.codes.to(o.dtype).T - F.softplus(o).sum(1, keepdim=True)


class Likelihood(Objective):
    """Minus the log-likelihood of the true class, L = −w · mean g_y.

    For goodness that is a log-likelihood, such as `target-codes`. Goodness without an upper bound would grow
    indefinitely.

    Args:
        weight: w, beside penalties; with 0 only the penalties teach the block.
    """

    accepts: ClassVar[Form] = "class"

    def __init__(self, weight: NonNegative = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R, K) → a scalar."""
        first = goodness[: views.samples]
        return -self.weight * first.gather(1, self.targets(views).unsqueeze(1)).mean()

    def with_derivative(self, goodness: Tensor, views: Views) -> tuple[Tensor, Tensor]:
        """Derivative: −w/N in the column of the true class on the first view's rows, 0 elsewhere."""
        up = torch.zeros_like(goodness)
        up[: views.samples].scatter_(1, self.targets(views).unsqueeze(1), -self.weight / views.samples)
        return self(goodness, views), up
