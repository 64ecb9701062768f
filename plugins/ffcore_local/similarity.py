"""Similarity matching: samples of a class should have similar activities.

    z     = C ∗ h                                          (N, C, *positions); dense: z = C h
    u     = standard deviation of z over the positions     (N, C); z itself for dense activities
    û     = (u − mean_c u)/‖u − mean_c u‖
    S_nm  = û_n · û_m                                      in [−1, 1]
    T_nm  = 1 if y_n = y_m, else −1/(K − 1)
    L     = w · mean_nm (S_nm − T_nm)²

N samples; C channels; K classes; w the weight. T is the same expression S of the one-hot targets. Of a sample
whose features are all equal, such as a silent one, û = u − mean_c u = 0.

In a task by position the positions that have a class are the samples: with tokens (N, T, C) or pixels
(N, C, H, W), u is the feature vector (C,) of a position, or C u with a learned map. Of more than 1,024
positions in a batch every second, third, … one is taken.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ffcore.errors import UserError
from ffcore.interfaces import Block, Context, Out, Penalty, Views
from ffcore.interfaces.task import by_position
from ffcore.options import NonNegative

_EPS = 1e-8
_POSITIONS = 1024
"""Most positions that are compared with each other: their similarities are 4 MB in float32."""


class Similarity(Penalty):
    """Similarity matching loss of a block's activity ("sim" of predsim).

    Nøkland and Eidnes 2019, arXiv:1901.06656. w · mean (S − T)², where S is the cosine similarity of two
    samples' centred features and T is 1 within a class and −1/(K − 1) between classes. The features of an
    image are the standard deviations of each channel of a learned convolution C→C without bias; those of a
    dense activity are a learned linear map. Its parameters learn with the block and are not part of the
    network. If the last batch of an epoch has a single sample, its term is 0.

    Args:
        weight: w; 0.99 in the paper, beside 0.01 for the cross-entropy.
        kernel: side of the learned convolution; 3 in the paper. 1 takes a ninth of its multiplications; null:
            the activity itself, without parameters. Dense activities: null, or any side for a linear map.

    Raises:
        ValueError: when there is one class.
        UserError: when the batches have one sample.
    """

    couples_samples: ClassVar[bool] = True
    teaches: ClassVar[bool] = True
    reads_classes: ClassVar[bool] = True
    reads_positions: ClassVar[bool] = True
    examples = ({"kernel": None}, {"kernel": 1, "weight": 0.5})
    learned: Tensor

    def __init__(self, weight: NonNegative = 0.99, kernel: Literal[1, 3] | None = 3) -> None:
        super().__init__()
        self.weight = weight
        self.kernel = kernel
        self.map: nn.Module | None = None
        self.between = 0.0
        self.features: int | None = None
        # True after a batch of several samples: then a batch of one is the last of an epoch.
        self.register_buffer("learned", torch.zeros((), dtype=torch.bool))

    def setup(self, context: Context) -> None:
        """Make C.

        Raises:
            ValueError: when there is one class only.
        """
        context.refuse_one_class("penalty similarity", "similarity")
        self.between = -1 / (context.classes - 1)
        self.features = None if context.task is None else context.task.features
        channels = context.shape[self.features or 0]
        if self.kernel is None:
            return
        if len(context.shape) == 1 or self.features is not None:
            self.map = nn.Linear(channels, channels, bias=False)
        elif len(context.shape) == 3:
            layer = nn.Conv2d(channels, channels, self.kernel, padding=self.kernel // 2, bias=False)
            self.map = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        else:
            raise ValueError(
                f"penalty similarity: block {context.name} has activity {context.shape}; a learned "
                "convolution needs images (C, H, W); use kernel: null"
            )

    def forward(self, out: Out, block: Block, views: Views) -> Tensor:
        """Return the weighted term.

        Raises:
            UserError: when the batches have one sample.
        """
        assert views.y is not None, "classes are learned from labelled samples"
        h, y = out.activity[: views.samples], views.y
        if self.features is not None:
            h, y = _of_positions(h, views, self.features)
        if h.shape[0] < 2:
            if not self.learned and self.features is None:
                raise UserError(
                    "penalty similarity: a batch of one sample has no pairs; use a larger batch_size"
                )
            return out.activity.sum() * 0.0
        if self.training:
            self.learned.fill_(True)
        z = h if self.map is None else self.map(h)
        same = y.unsqueeze(1) == y
        target = torch.where(same, 1.0, self.between).to(torch.promote_types(z.dtype, torch.float32))
        return self.weight * (similarity(z) - target).square().mean()


def _of_positions(h: Tensor, views: Views, features: int) -> tuple[Tensor, Tensor]:
    """Return the activity and class of positions that have one, (n, C) and (n,); see the module."""
    rows, of_rows = by_position(h if features == -1 else h.movedim(1, -1), views)
    assert of_rows.y is not None, "a task by position has targets"
    every, positions = -(-rows.shape[0] // _POSITIONS) or 1, h[0].numel() // rows.shape[-1]
    while math.gcd(every, positions) > 1:  # else the same positions of all samples
        every += 1
    return rows[::every], of_rows.y[::every]


class _Deviation(torch.autograd.Function):
    """The standard deviation over positions, (N, P, C) → (N, C), and its gradient c/((P − 1) u).

    c are the centred values. Means are matrix products: on CPUs torch's ``std`` takes three times as long.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        positions = rows.shape[1]
        one = rows.new_full((rows.shape[0], 1, positions), 1 / positions)
        mean = torch.bmm(one, rows)
        centred = rows - mean
        deviation = (torch.bmm(one, centred.square()) * (positions / (positions - 1))).sqrt_()
        # a constant channel, up to the rounding of its mean
        deviation.masked_fill_(deviation <= 8 * torch.finfo(rows.dtype).eps * mean.abs(), 0)
        ctx.save_for_backward(centred, deviation)
        return deviation.squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *up: Tensor) -> Tensor:
        centred, deviation = ctx.saved_tensors
        factor = up[0].unsqueeze(1) / (deviation * (centred.shape[1] - 1))
        # as torch's std: a constant channel has no gradient
        return cast(Tensor, centred * factor.masked_fill_(deviation == 0, 0))


def deviations(z: Tensor) -> Tensor:
    """Return the standard deviation of each channel over its positions, (N, C, *positions) → (N, C)."""
    return _Deviation.apply(z.flatten(2).transpose(1, 2))  # type: ignore[no-any-return, no-untyped-call]


def similarity(z: Tensor) -> Tensor:
    """Return the cosine similarities S (N, N) of centred features; see the formulas of this module.

    Args:
        z: (N, C) features, or (N, C, *positions); with more than three channels and positions, the standard
            deviation of each channel replaces its positions.
    """
    # Autocast would round the similarities of nearly equal samples.
    with torch.autocast(z.device.type, enabled=False):
        u = z.to(torch.promote_types(z.dtype, torch.float32))
        if z.dim() > 2 and z.shape[1] > 3 and z[0, 0].numel() > 1:
            u = deviations(u)
        u = u.flatten(1)
        mean = u.mean(1, keepdim=True)
        u = u - mean
        length: Tensor = u.norm(dim=1, keepdim=True)
        # constant features, up to the rounding of their mean: F.normalize would have a gradient of 1/ε here
        rounding = 8 * torch.finfo(u.dtype).eps * math.sqrt(u.shape[1])
        constant = length <= (rounding * mean.abs()).clamp_min(_EPS)
        u = u / length.masked_fill(constant, 1.0)
        return (u @ u.T).clamp(-1, 1)
