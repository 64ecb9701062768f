"""What finished blocks make of the training set, kept so that they need not run again.

N samples in the training split; n of them in a batch; V views.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor

from ffcore.errors import UserError
from ffcore.interfaces import Algorithm, Batch, Views, dense
from ffcore.interfaces.batch_rng import mix
from ffcore.local import LocalNetwork


class Loader(Protocol):
    """A loader that can also go through its samples in the stored order."""

    samples: int

    def in_order(self) -> Iterable[Batch]:
        """All samples, each of them once, in the stored order."""

    def anew(self) -> Iterable[Batch]:
        """All samples, each of them once, in the epoch's order."""


class Cache:
    """The views of every training sample, as the first stage with a block that learns receives them.

    Each sample's views are drawn once, when the cache is filled; its batches are views for
    ``network.learn(…, entered=True)``. Takes N·V rows of that stage's input, on the network's device.

    Args:
        network: with the plan whose finished stages are run.
        algorithm: makes the views.
        loader: of the training split.
        seed: keys the draws.

    Raises:
        UserError: when the views carry what cannot be kept row by row.
    """

    def __init__(self, network: LocalNetwork, algorithm: Algorithm, loader: Loader, seed: int) -> None:
        self._kept: dict[str, Tensor] = {}
        self._upstream = 0
        self._roles: tuple[str, ...] = ()
        for number, batch in enumerate(loader.in_order()):
            n = len(batch.x)
            batch.seed(seed, mix(network.finished, number))
            views = network.enter(algorithm.views(batch, network))
            if views.extra or set(views.sizes) != {n}:
                what = "extras" if views.extra else "views of different sizes"
                raise UserError(
                    f"schedule.cache: the views have {what}, which cannot be kept; set it to false"
                )
            self._roles, self._upstream = views.roles, len(views.upstream)
            for name, rows in _tensors(views).items():
                by_view = rows.view(-1, n, *rows.shape[1:])
                if name not in self._kept:
                    size = (len(by_view), loader.samples, *rows.shape[1:])
                    self._kept[name] = torch.empty(size, dtype=rows.dtype, device=rows.device)
                self._kept[name][:, batch.index] = by_view

    def views(self, batch: Batch) -> Views:
        """The views of a batch's samples."""
        rows = {name: kept[:, batch.index].flatten(0, 1) for name, kept in self._kept.items()}
        return Views(
            x=rows["x"],
            roles=self._roles,
            sizes=(len(batch.index),) * len(self._roles),
            y=rows.get("y"),
            hypothesis=rows.get("hypothesis"),
            upstream=[rows[f"upstream {i}"] for i in range(self._upstream)],
        )


def _tensors(views: Views) -> dict[str, Tensor]:
    """Everything that has rows: of all views, or, for ``y``, of the first."""
    found = {"x": dense(views.x)}
    found |= {f"upstream {i}": goodness for i, goodness in enumerate(views.upstream)}
    found |= {name: t for name, t in (("y", views.y), ("hypothesis", views.hypothesis)) if t is not None}
    return found
