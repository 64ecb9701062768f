"""A body with local receptive fields and no weight sharing.

    h_ij = f(W_ij · patch_ij + b_ij)        for each output position (i, j)

R rows; C input channels of H×W pixels; U channels of H'×W' positions; k kernel; s stride; t side of a tile.

For speed, the t×t positions of a tile share one larger patch, and W_ij is padded with zeros to its size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.interfaces import dense
from ffcore.options import Natural, Size
from ffcore_std.activations import ACTIVATIONS, ActivationName
from ffcore_std.bodies import Init, add_gradient

COPY = 40  # cost of copying one number into a patch, in multiplications; measured on one CPU core


class LocallyConnected(nn.Module):
    """Convolution with unshared weights, h_ij = f(W_ij · patch_ij + b_ij).

    W_ij is ``weight[i, j]``, the weights (channels, C, kernel, kernel) of position (i, j).
    H' = ⌊(H + 2·padding − kernel) / stride⌋ + 1, and W' likewise. As in Hinton 2022, sections 3.2 and 4.

    Args:
        in_shape: (C, H, W) of one input sample; the builder supplies it.
        channels: units at each position, U.
        kernel: side of the receptive fields.
        stride: distance between neighbouring fields.
        padding: width of the border of zeros around the image.
        activation: f: relu, relu-pass-through, tanh or identity.
        bias: whether to add b.
        init: "normal": standard deviation 1/√(C·kernel²) and b = 0; "uniform": in ± this value, as for dense
            layers.

    Raises:
        ValueError: when a sample is not an image, or the kernel is larger than the padded image.
    """

    examples = (
        {"channels": 3, "kernel": 4, "stride": 2},
        {"channels": 2, "kernel": 5, "padding": 2, "activation": "tanh", "init": "uniform"},
    )

    def __init__(
        self,
        in_shape: tuple[int, ...],
        channels: Size,
        kernel: Size,
        stride: Size = 1,
        padding: Natural = 0,
        activation: ActivationName = "relu",
        bias: bool = True,
        init: Init = "normal",
    ) -> None:
        super().__init__()
        if len(in_shape) != 3:
            raise ValueError(f"needs images of C×H×W, but one input sample has shape {tuple(in_shape)}")
        inputs, *sides = in_shape
        if kernel > min(sides) + 2 * padding:
            raise ValueError(
                f"a kernel of {kernel}×{kernel} does not fit into {sides[0]}×{sides[1]} pixels with "
                f"padding {padding}; it may be at most {min(sides) + 2 * padding}"
            )
        rows, columns = ((side + 2 * padding - kernel) // stride + 1 for side in sides)
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.weight = nn.Parameter(torch.empty(rows, columns, channels, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(channels, rows, columns)) if bias else None
        bound = 1 / math.sqrt(inputs * kernel**2)
        if init == "normal":
            nn.init.normal_(self.weight, std=bound)
        else:
            for parameter in self.parameters():
                nn.init.uniform_(parameter, -bound, bound)
        self.activation = ACTIVATIONS[activation]
        self.tile = _best_tile(rows, columns, channels, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) → (R, U, H', W')."""
        # Tile by tile, as one batched matrix product.
        down, across, t = self._tiles
        made = torch.bmm(self._spread(), self._patches(x)).view(down, across, t, t, -1, len(x))
        a = made.permute(5, 4, 0, 2, 1, 3).reshape(len(x), -1, down * t, across * t)
        return self.activation.function(a if self.bias is None else a + self.bias)

    def add_gradients(self, x: Tensor, activity: Tensor, up: Tensor) -> None:
        """Gradients of W and b in closed form; see `ffcore.interfaces.ClosedForm`."""
        up = self.activation.back(activity, up)
        if self.bias is not None and self.bias.requires_grad:
            add_gradient(self.bias, up.sum(0))
        if not self.weight.requires_grad:
            return
        down, across, t = self._tiles
        up = up.reshape(len(up), -1, down, t, across, t).permute(2, 4, 3, 5, 1, 0)
        patches = self._patches(dense(x))
        spread = torch.bmm(up.reshape(down * across, -1, len(activity)), patches.transpose(1, 2))
        add_gradient(self.weight, self._gathered(spread))

    def extra_repr(self) -> str:
        """Return the text for ``print``."""
        rows, columns, channels, inputs = self.weight.shape[:4]
        shape = f"{inputs} → {channels}×{rows}×{columns}"
        return f"{shape}, kernel={self.kernel}, stride={self.stride}, padding={self.padding}"

    @property
    def _tiles(self) -> tuple[int, int, int]:
        """Number of tiles down and across, and t; a tile has t×t positions."""
        rows, columns = self.weight.shape[:2]
        return rows // self.tile, columns // self.tile, self.tile

    def _patches(self, x: Tensor) -> Tensor:
        """Return the patch of each tile, (tiles, C·side², R); rows come last, for contiguous copies."""
        side, step, p = _side(self.tile, self.kernel, self.stride), self.tile * self.stride, self.padding
        x = x.flatten(1).t().contiguous().view(*x.shape[1:], len(x))
        if p:
            x = F.pad(x, (0, 0, p, p, p, p))
        windows = x.unfold(1, side, step).unfold(2, side, step)  # (C, down, across, R, side, side)
        down, across, _ = self._tiles
        return windows.permute(1, 2, 0, 4, 5, 3).reshape(down * across, -1, x.shape[-1])

    def _spread(self) -> Tensor:
        """Return W as one matrix per tile, (tiles, t²·U, C·side²), zero outside the receptive fields."""
        down, across, t = self._tiles
        rows, columns, channels, inputs, kernel, _ = self.weight.shape
        if t == 1:
            return self.weight.view(rows * columns, channels, -1)
        side = _side(t, kernel, self.stride)
        matrix = self.weight.new_zeros(down, across, t, t, channels, inputs, side, side)
        for position, fields in self._fields(matrix):
            fields.copy_(self.weight[position])
        return matrix.view(down * across, t * t * channels, -1)

    def _gathered(self, matrix: Tensor) -> Tensor:
        """The inverse of `_spread`: from (tiles, t²·U, C·side²) to the shape of W."""
        down, across, t = self._tiles
        channels, inputs, kernel, _ = self.weight.shape[2:]
        if t == 1:
            return matrix.view(self.weight.shape)
        side = _side(t, kernel, self.stride)
        weight = torch.empty_like(self.weight)
        for position, fields in self._fields(matrix.view(down, across, t, t, channels, inputs, side, side)):
            weight[position] = fields
        return weight

    def _fields(self, matrix: Tensor) -> Iterator[tuple[tuple[slice, slice], Tensor]]:
        """Yield, for each position of a tile, its index in W and its part of a spread matrix."""
        t, s, k = self.tile, self.stride, self.kernel
        for i, j in product(range(t), repeat=2):
            position = slice(i, None, t), slice(j, None, t)
            yield position, matrix[:, :, i, j, :, :, i * s : i * s + k, j * s : j * s + k]


def _side(t: int, kernel: int, stride: int) -> int:
    """Return the side of the area that t neighbouring receptive fields cover."""
    return kernel + (t - 1) * stride


def _best_tile(rows: int, columns: int, channels: int, kernel: int, stride: int) -> int:
    """Return the t of the lowest cost: a larger t needs fewer copies, but more multiplications by 0."""

    def cost(t: int) -> int:
        return rows * columns * _side(t, kernel, stride) ** 2 * (COPY + t * t * channels) // t**2

    common = math.gcd(rows, columns)
    return min((t for t in range(1, common + 1) if common % t == 0), key=cost)
