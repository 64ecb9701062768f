"""The convolution of signal propagation's networks.

    h = f(instance-norm(W ∗ x + b))       instance norm over the positions of a channel of a row

R rows; C channels of H by W pixels; U output channels; x (R, C, H, W); h (R, U, H, W).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ffcore.options import Positive, Size
from ffcore_resnet.convolution import refuse_other_than_images
from ffcore_resnet.norms import group_norm
from ffcore_resnet.weight_gradient import convolve
from ffcore_std.activations import ACTIVATIONS, ActivationName


class ConvInstanceNorm(nn.Module):
    """Convolution, instance norm and activation, padded by kernel // 2.

    The norm of the authors' example: it treats every row alike, so that the streams of samples and targets do
    not mix, and one target a class is exact.

    Args:
        in_shape: (C, H, W) of one input sample; the builder supplies it.
        channels: number of output channels U.
        kernel: side of the filters, odd.
        activation: f: leaky-relu, relu, relu-pass-through, tanh or identity.
        eps: added to variances.

    Raises:
        ValueError: when samples are not images, or have one pixel.
    """

    examples = ({"channels": 6},)

    def __init__(
        self,
        in_shape: tuple[int, ...],
        channels: Size,
        kernel: Size = 3,
        activation: ActivationName = "leaky-relu",
        eps: Positive = 1e-5,
    ) -> None:
        super().__init__()
        refuse_other_than_images(in_shape, kernel)
        if in_shape[1] * in_shape[2] == 1:
            raise ValueError("conv-instance-norm: an image of one pixel has no variance; use dense")
        self.conv = nn.Conv2d(in_shape[0], channels, kernel, padding=kernel // 2)
        self.conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.activation, self.eps = ACTIVATIONS[activation], eps

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) → (R, U, H, W)."""
        a = convolve(self.conv, x)
        # a group for each channel: torch's instance norm would leave the channels-last memory format
        return self.activation.function(group_norm(a, a.shape[1], self.eps))
