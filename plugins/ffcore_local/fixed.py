"""Bodies whose weights are random and fixed, or binary.

    random-conv:  h = batch-norm(max-pool(ReLU(W ∗ x)))        W fixed
    binary-dense: b(v) = mean|v| · sign(v),  sign(0) = 1, sign(−0) = −1
                  a = b(x) b(W)ᵀ + b;   h = f(a)               backward: ∂b(v)/∂v = 1

R rows; C channels of H by W pixels; U outputs; x (R, C, H, W) or (R, *shape); W (U, C, k, k) or (U, D).
The mean of |x| is that of a row; the mean of |W| is that of the matrix.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.options import Fraction, Size
from ffcore_local.bodies import normed
from ffcore_resnet.convolution import refuse_other_than_images
from ffcore_std.activations import ACTIVATIONS, ActivationName


class RandomConv(nn.Module):
    """Random convolution that does not learn, ReLU, max pooling and batch norm.

    The block of Cascaded Forward (CaFo, Zhao et al. 2023, arXiv:2303.09728), where only the head learns. The
    batch norm has no parameters; its running statistics follow the data.

    Args:
        in_shape: (C, H, W) of one input sample; the builder supplies it.
        channels: number of output channels U.
        kernel: side of the filters, odd.
        pool: side of the pooling; 1 for none.
        momentum: weight of a batch in the running statistics.

    Raises:
        ValueError: when samples are not images, the kernel is even, or an image is smaller than the pooling.
    """

    examples = ({"channels": 6},)

    def __init__(
        self,
        in_shape: tuple[int, ...],
        channels: Size,
        kernel: Size = 3,
        pool: Size = 2,
        momentum: Fraction = 0.1,
    ) -> None:
        super().__init__()
        refuse_other_than_images(in_shape, kernel)
        if min(in_shape[1:]) < pool:
            raise ValueError(
                f"pool: an image of {in_shape[1]}×{in_shape[2]} pixels is smaller than {pool}; use fewer "
                "blocks, or larger images"
            )
        self.conv = nn.Conv2d(in_shape[0], channels, kernel, padding=kernel // 2).requires_grad_(False)
        self.pool = pool
        self.norm = nn.BatchNorm2d(channels, momentum=momentum, affine=False)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) → (R, U, H / pool, W / pool)."""
        made = F.relu(self.conv(x))
        if self.pool > 1:
            made = F.max_pool2d(made, self.pool)
        return normed(self.norm, made)


class _Binary(torch.autograd.Function):
    """mean|v| · sign(v), with a derivative of 1 (straight-through)."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, dim: tuple[int, ...]) -> Tensor:
        # vector_norm needs no tensor of absolute values, and copysign no mask
        size = torch.linalg.vector_norm(v, 1, dim, keepdim=True) / math.prod(v.shape[d] for d in dim)
        # torch.sign(0) is 0, which would be a third value: copysign gives 0 the sign of its bit
        return torch.copysign(size, v)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def binary(v: Tensor, dim: tuple[int, ...]) -> Tensor:
    """Return mean|v| · sign(v), where the mean is over the dimensions ``dim``; the derivative is 1."""
    return cast(Tensor, _Binary.apply(v, dim))  # type: ignore[no-untyped-call]


class BinaryDense(nn.Module):
    """Dense layer with binary weights and binary inputs, h = f(b(x) b(W)ᵀ + b).

    The layer of TinyFoA. The optimiser changes real latent weights, which are clamped to [−1, 1]. An input
    becomes its sign, so the handoff of the layer before should centre its activity:
    ``{kind: group-norm, groups: 1}``.

    Args:
        in_shape: shape of one input sample; the builder supplies it.
        units: number of units U.
        activation: f: leaky-relu, relu, relu-pass-through, tanh or identity.
        bias: whether to add b, which is not binary.
        binary_inputs: whether the inputs are binary too.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        units: Size,
        activation: ActivationName = "tanh",
        bias: bool = True,
        binary_inputs: bool = True,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(math.prod(in_shape), units, bias=bias)
        self.activation = ACTIVATIONS[activation]
        self.binary_inputs = binary_inputs

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, U)."""
        weight = self.linear.weight
        if self.training:
            # Clamped before the next use instead of after the step, which the optimiser takes on its own. Not
            # only with a graph: some rules need none. Passes without learning are in evaluation mode.
            with torch.no_grad():
                weight.clamp_(-1, 1)
        else:
            weight = weight.clamp(-1, 1)  # the weights after the last step
        rows = x.flatten(1)
        if self.binary_inputs:
            rows = binary(rows, (1,))
        return self.activation.function(F.linear(rows, binary(weight, (0, 1)), self.linear.bias))
