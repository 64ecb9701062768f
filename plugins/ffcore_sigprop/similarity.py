"""Goodness of each class: the similarity of a row to the target of the class, in the same layer.

    S_rk = 1/P Σ_p Σ_c h_rcp t_kcp

R rows of a pass; K classes, with one target each; C channels or units; P positions, 1 of a dense activity;
h (R, C, *), t (K, C, *) the rows of the view "targets"; S (R, K).
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from ffcore.interfaces import Context, Goodness, Views
from ffcore.interfaces.goodness import Form


class SignalSimilarity(Goodness):
    """Inner product with the target of each class, a mean over positions; 0 in a pass without targets.

    The similarity of signal propagation (Kohan et al. 2023, arXiv:2204.01723), without a temperature and
    without normalisation. Its gradient reaches the targets too.
    """

    form: ClassVar[Form] = "class"
    reads_views: ClassVar[bool] = True
    example_roles: ClassVar[tuple[str, ...]] = ("targets",)

    def setup(self, context: Context) -> None:
        """Keep the number of classes."""
        self.classes = context.classes

    def forward(self, activity: Tensor, views: Views | None = None) -> Tensor:
        """(R, C, *) → (R, K)."""
        kind = torch.promote_types(activity.dtype, torch.float32)
        if views is None or "targets" not in views.roles:
            return activity.new_zeros(activity.shape[0], self.classes, dtype=kind)
        # in memory order: a channels-last activity would be copied
        last = activity.dim() == 4 and activity.is_contiguous(memory_format=torch.channels_last)
        rows = (activity.movedim(1, -1) if last else activity).flatten(1)
        # autocast would make nearly equal similarities equal
        with torch.autocast(rows.device.type, enabled=False):
            rows = rows.to(kind)
            return rows @ views.of(rows, "targets").T / math.prod(activity.shape[2:])
