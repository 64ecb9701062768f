"""Running figures of every block, kept on the device until somebody looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from ffcore.interfaces import Block, Input, Out, Views
from ffcore.local import LocalBlock


class Meter:
    """Mean loss of every block, and mean goodness of every view, since the last reset.

    It is a network's record of losses and one of its watchers. Nothing here waits for a device but `read`.
    """

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, Tensor]] = {}
        self._batches: dict[str, int] = {}

    def record(self, block: Block, terms: Mapping[str, Tensor]) -> None:
        """Add the terms of a block's loss."""
        name = cast(LocalBlock, block).name
        self._batches[name] = self._batches.get(name, 0) + 1
        for term, value in terms.items():
            self._add(name, "loss" if term == "objective" else term, value.detach())

    @torch.no_grad()
    def __call__(self, block: Block, inputs: tuple[Input, ...], out: Out, views: Views) -> None:
        """Add the mean energy of each view; see `ffcore.interfaces.Observer`."""
        goodness = out.goodness
        if goodness is None or goodness.dim() != 1 or cast(LocalBlock, block).loss is None:
            return
        name = cast(LocalBlock, block).name
        if len(views.sizes) == 2 and views.sizes[0] == views.sizes[1]:
            self._add(name, "goodness", goodness.detach().view(2, -1).mean(1))

    def reset(self) -> None:
        """Begin new sums."""
        self._sums, self._batches = {}, {}

    def read(self) -> dict[str, dict[str, float]]:
        """Means by block and figure; ``separation`` is the goodness of the first view less the second's."""
        figures: dict[str, dict[str, float]] = {}
        for name, sums in self._sums.items():
            batches = self._batches.get(name)
            if not batches:
                continue
            mine = figures[name] = {}
            for what, total in sums.items():
                if what == "goodness":
                    positive, negative = (total / batches).tolist()
                    mine |= {"positive": positive, "negative": negative, "separation": positive - negative}
                else:
                    mine[what] = float(total) / batches
        return figures

    def _add(self, name: str, what: str, value: Tensor) -> None:
        sums = self._sums.setdefault(name, {})
        if what in sums:
            sums[what] += value
        else:
            sums[what] = value.clone().float()
