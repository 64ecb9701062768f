"""Running figures of every block, kept on the device until somebody looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from ffcore.interfaces import Block, Input, Out, Views
from ffcore.local import LocalBlock


class Meter:
    """Means over samples since the last `reset`: losses of every block, energies of each view of a pair.

    It is a network's record of losses and one of its watchers. Nothing here waits for a device but `read`.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin new sums."""
        self._sums: dict[str, dict[str, Tensor]] = {}
        self._samples: dict[str, int] = {}
        self._pairs: dict[str, int] = {}
        self._roles: dict[str, tuple[str, ...]] = {}

    def record(self, block: Block, terms: Mapping[str, Tensor], samples: int) -> None:
        """Add the terms of a block's loss, means over so many samples."""
        if not samples:
            return
        name = cast(LocalBlock, block).name
        self._samples[name] = self._samples.get(name, 0) + samples
        for term, value in terms.items():
            self._add(name, "loss" if term == "objective" else term, value.detach(), samples)

    @torch.no_grad()
    def __call__(self, block: Block, inputs: tuple[Input, ...], out: Out, views: Views) -> None:
        """Add the energies of a pass with two views of the same size; see `ffcore.interfaces.Observer`."""
        goodness = out.goodness
        pair = len(views.sizes) == 2 and views.sizes[0] == views.sizes[1]
        if not pair or not views.samples or goodness is None or goodness.dim() != 1:
            return
        name = cast(LocalBlock, block).name
        self._roles[name] = views.roles
        self._pairs[name] = self._pairs.get(name, 0) + views.sizes[0]
        self._add(name, "goodness", goodness.detach().view(2, -1).sum(1))

    def read(self) -> dict[str, dict[str, float]]:
        """Means by block and figure.

        ``loss`` is the objective, each penalty stands under its name, each view's goodness under its role,
        and ``separation`` is the first view's goodness less the second's.
        """
        figures: dict[str, dict[str, float]] = {}
        for name, sums in self._sums.items():
            mine = figures[name] = {}
            for what, total in sums.items():
                if what == "goodness":
                    pair = (total / self._pairs[name]).tolist()
                    mine |= dict(zip(self._roles[name], pair, strict=True))
                    mine["separation"] = pair[0] - pair[1]
                else:
                    mine[what] = float(total) / self._samples[name]
        return figures

    def _add(self, name: str, what: str, value: Tensor, times: int = 1) -> None:
        sums = self._sums.setdefault(name, {})
        if what not in sums:
            dtype = torch.promote_types(value.dtype, torch.float32)
            sums[what] = torch.zeros_like(value, dtype=dtype)
        sums[what].add_(value, alpha=times)
