"""The contract of algorithms: which views of a batch enter the network, how evidence becomes scores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ffcore.interfaces.batch import Batch
from ffcore.interfaces.component import Component
from ffcore.interfaces.network import Network
from ffcore.interfaces.views import Views


class Algorithm(Component):
    """A forward-only algorithm. It never sees an optimiser, a rank or a device.

    Attributes:
        feedforward: every block is called once a pass, so that blocks may lie on different devices.
        schedule: kind of the schedule where the recipe names none.
        block: entries that replace those of the recipe's ``block``, for algorithms without local losses.
        head: a network item, as in a recipe, that the algorithm appends; ``units: classes`` means K.
        updates_per_batch: how often each block learns in one batch.
    """

    feedforward: ClassVar[bool] = True
    schedule: ClassVar[str] = "joint"
    block: ClassVar[Mapping[str, Any]] = {}
    head: ClassVar[Mapping[str, Any] | None] = None
    updates_per_batch: int = 1

    def prepare(self, shape: tuple[int, ...], classes: int, net_readouts: tuple[str, ...]) -> tuple[int, ...]:
        """Learn the data's shape, the number of classes and the readouts' names, before the net is built.

        Returns:
            Shape of one input of the network.

        Raises:
            ValueError: when the data or the readouts do not fit.
        """
        return shape

    @abstractmethod
    def views(self, batch: Batch, net: Network) -> Views:
        """The views that the blocks learn from. May run the net without learning, for hard negatives."""

    def learn(self, batch: Batch, net: Network) -> None:
        """Learn from one batch: the readouts from the plain inputs, as `scores` reads them, then the blocks.

        Recurrent circuits override it.
        """
        if tuple(net.readouts):
            net.read(Views(x=batch.x, roles=("all",), sizes=(len(batch.x),), y=batch.y), learn=True)
        net.learn(self.views(batch, net))

    def scores(self, x: Tensor, net: Network) -> Tensor:
        """Evidence of every source for every class, (L, N, K), from inputs (N, *shape).

        The default suits goodness of kind "class": one pass over the plain inputs.
        """
        views = Views(x=x, roles=("all",), sizes=(len(x),))
        evidence = net.goodness(views)
        if tuple(net.readouts):
            evidence += list(net.read(views).values())
        return torch.stack(evidence)
