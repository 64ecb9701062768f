"""Caches of what finished blocks make of the training set: the next block's inputs, what readouts read.

N samples in the training split; n of them in a batch; V views.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from ffcore.errors import UserError
from ffcore.interfaces import Algorithm, Batch, Block, Progress, Views, dense
from ffcore.interfaces.batch_rng import mix
from ffcore.local import LocalNetwork
from ffcore.network import Network

LONG = 10**9
"""Epochs of a run that is longer than any."""


class Loader(Protocol):
    """A loader that can also iterate over its samples in the order of the data set."""

    samples: int

    def in_order(self) -> Iterable[Batch]:
        """Iterate over all samples once, in the order of the data set."""

    def anew(self) -> Iterable[Batch]:
        """Iterate over all samples once, in the order of the epoch."""


class Cache:
    """The views of every training sample, at the input of the first stage that learns.

    The views of each sample are made once, when the cache is filled. Pass them to
    ``network.learn(…, entered=True)``. The cache stores N·V rows of that stage's input on the network's
    device.

    Args:
        network: the network; its plan determines the finished stages.
        algorithm: makes the views.
        loader: loader of the training split.
        seed: seed of the views' random numbers.

    Raises:
        UserError: when the views have extras or views of different sizes, which cannot be stored by sample.
    """

    def __init__(self, network: LocalNetwork, algorithm: Algorithm, loader: Loader, seed: int) -> None:
        self._kept: dict[str, Tensor] = {}
        self._upstream = 0
        self._roles: tuple[str, ...] = ()
        for number, batch in enumerate(loader.in_order()):
            n = len(batch.index)
            # the number of finished stages is mixed in: each stage of a greedy schedule has new views
            batch.seed(seed, mix(network.finished, number))
            views = network.enter(algorithm.views(batch, network))
            if views.extra or set(views.sizes) != {n}:
                what = "extras" if views.extra else "views of different sizes"
                raise UserError(
                    f"schedule.cache: the views have {what}, which cannot be cached; set it to false"
                )
            self._roles, self._upstream = views.roles, len(views.upstream)
            for name, rows in _tensors(views).items():
                by_view = rows.view(len(rows) // n, n, *rows.shape[1:])  # rows may be empty tensors
                if name not in self._kept:
                    size = (len(by_view), loader.samples, *rows.shape[1:])
                    self._kept[name] = torch.empty(size, dtype=rows.dtype, device=rows.device)
                self._kept[name][:, batch.index] = by_view

    def views(self, batch: Batch) -> Views:
        """Return the stored views of a batch's samples."""
        rows = {name: kept[:, batch.index].flatten(0, 1) for name, kept in self._kept.items()}
        return Views(
            x=rows["x"],
            roles=self._roles,
            sizes=(len(batch.index),) * len(self._roles),
            y=rows.get("y"),
            hypothesis=rows.get("hypothesis"),
            upstream=[rows[f"upstream {i}"] for i in range(self._upstream)],
        )


class ReadoutCache:
    """The handoffs that readouts read, of every training sample, once no block learns.

    Pass them to ``network.read(…, tapped=…)``. The cache stores N rows of each of them on the network's
    device.

    Args:
        network: the network.
        algorithm: makes the neutral view.
        loader: loader of the training split.
    """

    def __init__(self, network: LocalNetwork, algorithm: Algorithm, loader: Loader) -> None:
        self._kept: dict[Block, Tensor] = {}
        for batch in loader.in_order():
            for block, rows in network.tapped(algorithm.neutral(batch.x)).items():
                if block not in self._kept:
                    self._kept[block] = rows.new_empty(loader.samples, *rows.shape[1:])
                self._kept[block][batch.index] = rows

    def handoffs(self, batch: Batch) -> dict[Block, Tensor]:
        """Return the stored handoffs of a batch's samples."""
        return {block: kept[batch.index] for block, kept in self._kept.items()}


def refuse_unused(net: Network) -> None:
    """Raise `UserError` if readouts would never read a cache: some block learns in every epoch of any run."""
    late = Progress(LONG - 1, 0, LONG)
    if net.schedule.cache and net.local.readouts and net.schedule.windows(late, len(net.local.learning)):
        raise UserError(
            "schedule.cache: readouts learn from all blocks, and some of these always learn; set it to false"
        )


def refuse_unordered(net: Network, loader: Any) -> None:
    """Raise `UserError` if a cache cannot be filled: loaders of torch may shuffle, and do not say how."""
    if net.schedule.cache and not callable(getattr(loader, "in_order", None)):  # torch's has a boolean
        raise UserError("schedule.cache: needs the loader of a run (ffcore.fit, a recipe); set it to false")


def filled(
    network: LocalNetwork, algorithm: Algorithm, loader: Any, seed: int
) -> Cache | ReadoutCache | None:
    """Return a cache for the network's current plan, or None if there is nothing to store yet.

    With readouts, which read all blocks, that is until no block learns.

    """
    if not _due(network):
        return None
    if network.readouts:
        return ReadoutCache(network, algorithm, loader)
    return Cache(network, algorithm, loader, seed)


def cached_step(network: LocalNetwork, algorithm: Algorithm, batch: Batch) -> Callable[[], object]:
    """Compute what a cache would store of a batch; return the step that learns from it, to be counted.

    Without anything to store yet it is the step of the algorithm.
    """
    if not _due(network):
        return partial(algorithm.learn, batch, network)
    if network.readouts:
        tapped = network.tapped(algorithm.neutral(batch.x))
        return partial(network.read, algorithm.neutral(batch.x, batch.y), learn=True, tapped=tapped)
    return partial(network.learn, network.enter(algorithm.views(batch, network)), entered=True)


def _due(network: LocalNetwork) -> bool:
    """Return whether there is something to store; with readouts, which read all, once no block learns."""
    if network.readouts:
        return all(network.place(block) is None for block in network.blocks)
    return network.finished > 0


def _tensors(views: Views) -> dict[str, Tensor]:
    """Return all tensors with one row per row of the views; for ``y``, per row of the first view."""
    by_name = {"x": dense(views.x)}
    by_name |= {f"upstream {i}": goodness for i, goodness in enumerate(views.upstream)}
    by_name |= {name: t for name, t in (("y", views.y), ("hypothesis", views.hypothesis)) if t is not None}
    return by_name
