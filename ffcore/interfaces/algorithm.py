"""The contract of algorithms: which views of a batch enter the network, how evidence becomes scores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ffcore.interfaces.batch import Batch
from ffcore.interfaces.component import Component
from ffcore.interfaces.context import Context
from ffcore.interfaces.goodness import Form
from ffcore.interfaces.network import Network, Source
from ffcore.interfaces.structure import rows
from ffcore.interfaces.views import Views


class Algorithm(Component):
    """A forward-only algorithm. It never sees an optimiser, a rank or a device.

    Attributes:
        whole_network: why learning takes the whole network at once, in words; empty where every batch goes
            through the blocks once, in their order, so that they may lie on different devices.
        hypotheses: whether each row of its views is tested under a class.
        accepts: forms of goodness whose evidence it can read.
        schedule: kind of the schedule where the recipe names none.
        block: entries that replace those of the recipe's ``block``, for algorithms without local losses.
        head: a network item, as in a recipe, that the algorithm appends; ``units: classes`` means K.
    """

    whole_network: str = ""
    hypotheses: ClassVar[bool] = False
    accepts: ClassVar[frozenset[Form]] = frozenset({"class"})
    schedule: ClassVar[str] = "joint"
    block: ClassVar[Mapping[str, Any]] = {}
    head: Mapping[str, Any] | None = None

    def setup(self, context: Context) -> tuple[int, ...]:
        """Look at the data and the readouts, before the network is built.

        Args:
            context: ``shape`` of one sample, ``readouts``, and what the training samples are, ``statistics``,
                where the data have been read.

        Returns:
            Shape of one input of the network.

        Raises:
            ValueError: when the data or the readouts do not fit.
        """
        return context.shape

    def connect(self, net: Network) -> None:
        """Look at the finished network.

        Beside `setup`, since the network is built from the shape that `setup` returns.

        Raises:
            ValueError: when the algorithm cannot teach it.
        """

    @abstractmethod
    def views(self, batch: Batch, net: Network) -> Views:
        """The views that the blocks learn from. May run the net without learning, for hard negatives."""

    def sources(self, net: Network) -> tuple[Source, ...]:
        """Where the evidence in `scores` is from, in its order: all of the network's sources."""
        return net.sources

    def neutral(self, x: Tensor, y: Tensor | None = None) -> Views:
        """A view of inputs (N, *shape) that names no class: readouts read it, and learn on it with ``y``."""
        return Views(x=x, roles=("all",), sizes=(rows(x),), y=y)

    def learn(self, batch: Batch, net: Network) -> None:
        """Learn from one batch: the readouts first, then the blocks."""
        if tuple(net.readouts):
            net.read(self.neutral(batch.x, batch.y), learn=True)
        net.learn(self.views(batch, net))

    def evidence(self, x: Tensor, net: Network) -> list[Tensor]:
        """Evidence of every block that has a goodness, (N, K) each, from inputs (N, *shape).

        The default suits goodness of form "class": one neutral pass.
        """
        return net.goodness(self.neutral(x))

    def scores(self, x: Tensor, net: Network) -> Tensor:
        """Evidence of every source, (L, N, K): the blocks', then the readouts' on a neutral pass."""
        evidence = self.evidence(x, net)
        if tuple(net.readouts):
            evidence += net.read(self.neutral(x)).values()
        return torch.stack(_of_one_type(evidence, x))

    def measure(self, batch: Batch, net: Network) -> Mapping[str, Tensor]:
        """Further figures of the samples of validation and test batches, (N,) by name.

        Their means over a split stand in ``metrics.csv`` and ``results.json``.
        """
        return {}

    def conclude(self, net: Network, train: Iterable[Batch], test: Iterable[Batch]) -> Mapping[str, Tensor]:
        """What else a run should keep, once it has learned and its weights have been selected.

        Args:
            net: the network, in evaluation mode.
            train: the training split, in its own order.
            test: the test split.

        Returns:
            Arrays for ``arrays.npz`` by name; those of a single number stand in ``results.json`` too.
        """
        return {}


def _of_one_type(evidence: list[Tensor], x: Any) -> list[Tensor]:
    """In the type of the samples; where these are no numbers of floating point, in the evidence's own."""
    if isinstance(x, Tensor) and x.is_floating_point():
        return [of_source.to(x.dtype) for of_source in evidence]
    return evidence
