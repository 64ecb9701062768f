"""What finished blocks make of the training set, kept so that they need not run again.

N samples in the training split; n of them in a batch; V views.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ffcore.errors import UserError
from ffcore.interfaces import Algorithm, Batch, Draw, Input, LabelledInput, Views
from ffcore.interfaces.draw import mix
from ffcore.local import LocalNetwork


class Loader(Protocol):
    """A loader that can also go through its samples in the stored order."""

    def in_order(self) -> Iterable[Batch]:
        """All samples, each of them once."""


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
        parts = []
        for number, batch in enumerate(loader.in_order()):
            n, key = len(batch.x), mix(network.finished, number)
            batch.draw = Draw(seed, key, 0, n, n, batch.x.device)
            parts.append(network.enter(algorithm.views(batch, network)))
        if any(part.extra for part in parts):
            raise UserError(
                "schedule.cache: the algorithm's views carry extras, which cannot be kept; set it to false"
            )
        self._like = parts[0]
        self._x = _by_view([part.x for part in parts], parts)
        claims = [part.claim for part in parts if part.claim is not None]
        self._claim = _by_view(claims, parts) if claims else None
        self._upstream = [
            _by_view([part.upstream[i] for part in parts], parts) for i in range(len(self._like.upstream))
        ]

    def views(self, batch: Batch) -> Views:
        """The views of a batch's samples."""
        n, index = len(batch.index), batch.index
        return Views(
            x=_rows(self._x, index),
            roles=self._like.roles,
            sizes=(n,) * len(self._like.roles),
            y=batch.y,
            claim=_rows(self._claim, index) if self._claim is not None else None,
            upstream=[_rows(goodness, index) for goodness in self._upstream],
        )


def _by_view(rows: Sequence[Input], parts: Sequence[Views]) -> Tensor:
    """(V, N, …) from the (V·n, …) rows of each batch."""
    tensors = [r.dense() if isinstance(r, LabelledInput) else r for r in rows]
    return torch.cat(
        [t.view(len(part.sizes), part.samples, *t.shape[1:]) for t, part in zip(tensors, parts, strict=True)],
        dim=1,
    )


def _rows(kept: Tensor, index: Tensor) -> Tensor:
    """(V, N, …) → (V·n, …)."""
    return kept[:, index].flatten(0, 1)
