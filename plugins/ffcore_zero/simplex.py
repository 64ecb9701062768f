"""Similarity to the vertices of fixed simplices.

    z_c  = A_c h_c                             of images; of (U,) activities there is one channel, z = h
    s_ck = z_c · p_ck / √(‖z_c‖² + 10⁻⁸ F)     (R, C, K)
    g_k  = Σ_c s_ck                            (R, K)

R rows; K classes; C channels; P positions of a channel; F = K of images, else U; h_c (R, P); A_c (F, P)
random and fixed; p_ck (F,) the vertices of a regular simplex in a random rotation, one a channel.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from ffcore.interfaces import Context, Goodness
from ffcore.interfaces.batch_rng import mix
from ffcore.interfaces.goodness import Form
from ffcore.options import Natural
from ffcore_local.prototypes import simplex

_SMALL = 1e-8
"""Added to the mean square of a channel, so that a silent one has a similarity of 0 and a small gradient."""


class Simplex(Goodness):
    """Cosine of an activity and the fixed prototype of each class, a sum over channels.

    Guo et al. 2026 (FFzero), arXiv:2603.24790. Every channel of an image has prototypes of its own, and a
    random linear map from its positions to K numbers. The block should have no activation: the handoff `relu`
    applies it.

    Args:
        seed: seed of the maps and rotations, which differ from block to block.

    Raises:
        ValueError: when the activity is neither (U,) nor an image, or U is less than K − 1.
    """

    form: ClassVar[Form] = "class"
    prototypes: Tensor
    maps: Tensor | None

    def __init__(self, seed: Natural = 0) -> None:
        super().__init__()
        self.seed = seed

    def setup(self, context: Context) -> None:
        """Draw the maps and the prototypes.

        Raises:
            ValueError: see the class.
        """
        shape, classes = context.shape, context.classes
        where = f"goodness simplex: block {context.name}"
        if len(shape) not in (1, 3):
            raise ValueError(f"{where}: has activity {shape}; it should be (units,) or (channels, H, W)")
        if len(shape) == 1 and shape[0] < classes - 1:
            raise ValueError(
                f"{where}: {shape[0]} units for {classes} classes; use {classes - 1} units or more"
            )
        channels, features = (1, shape[0]) if len(shape) == 1 else (shape[0], classes)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(mix(self.seed, context.depth))
            prototypes = torch.stack([simplex(classes, features) for _ in range(channels)])
            maps = None if len(shape) == 1 else torch.randn(channels, features, math.prod(shape[1:]))
        self.register_buffer("prototypes", prototypes)
        self.register_buffer("maps", maps)

    def of_channels(self, activity: Tensor) -> Tensor:
        """Return the similarities s, (R, *shape) → (R, C, K)."""
        # Autocast would round the differences of nearly equal similarities.
        with torch.autocast(activity.device.type, enabled=False):
            h = activity.to(torch.promote_types(activity.dtype, torch.float32))
            if self.maps is None:
                z = h.unsqueeze(0)
            else:
                z = torch.bmm(h.flatten(2).transpose(0, 1), self.maps.to(h.dtype).transpose(1, 2))
            # not F.normalize, whose gradient at a row of zeros is 10¹²
            length = (z.square().sum(2, keepdim=True) + _SMALL * z.shape[2]).sqrt()
            s = torch.bmm(z / length, self.prototypes.to(h.dtype).transpose(1, 2))
        return s.transpose(0, 1)

    def forward(self, activity: Tensor) -> Tensor:
        """(R, *shape) → (R, K)."""
        return self.of_channels(activity).sum(1)
