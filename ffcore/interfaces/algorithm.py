"""The contract of algorithms, which make the views of a batch and turn evidence into scores.

N samples; K classes; L sources of evidence.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ffcore.errors import UserError, a
from ffcore.interfaces.batch import Batch
from ffcore.interfaces.component import Component
from ffcore.interfaces.context import Context
from ffcore.interfaces.goodness import Form
from ffcore.interfaces.network import Network, Source
from ffcore.interfaces.structure import rows
from ffcore.interfaces.task import Target, Task, same_positions
from ffcore.interfaces.views import Views


class Algorithm(Component):
    """A forward-only algorithm. It does not handle optimisers, ranks or devices.

    Attributes:
        whole_network: the reason why a learning step needs the whole network in one process, in words. Empty
            if every batch passes the blocks once, in order; then they may be placed on different devices.
        measures_in_parts: whether `measure` works where each rank holds only its own blocks: it uses the
            network by `Network.goodness`, `Network.trace` and the turns of circuits.
        hypotheses: whether each row of its views has a hypothesis.
        accepts: forms of goodness whose evidence it can read.
        reads: the sorts of targets that it can learn from, of `ffcore.interfaces.task.Target`.
        positions: whether it can learn tasks by position.
        schedule: kind of the schedule if the recipe does not name one.
        block: entries that replace those of the recipe's ``block``, for algorithms without local losses.
        head: a network item, as in a recipe, that the algorithm appends; ``units: classes`` means K.
    """

    whole_network: str = ""
    measures_in_parts: ClassVar[bool] = False
    hypotheses: ClassVar[bool] = False
    accepts: ClassVar[frozenset[Form]] = frozenset({"class"})
    reads: ClassVar[frozenset[Target]] = frozenset({"class"})
    positions: ClassVar[bool] = False
    schedule: ClassVar[str] = "joint"
    block: ClassVar[Mapping[str, Any]] = {}
    head: Mapping[str, Any] | None = None

    def head_for(self, task: Task | None) -> Mapping[str, Any] | None:
        """Return the network item that the builder appends for a task; the default is ``head``."""
        return self.head

    def setup(self, context: Context) -> tuple[int, ...]:
        """Check the data and the readouts, before the network is built.

        Args:
            context: ``shape`` of one sample, ``readouts``, and ``statistics`` of the training samples, if the
                data have been read.

        Returns:
            Shape of one input of the network.

        Raises:
            ValueError: when the data or the readouts do not fit.
        """
        return context.shape

    def connect(self, net: Network) -> None:
        """Check the finished network. `setup` runs before the network exists, this method afterwards.

        Raises:
            ValueError: when the network cannot learn with this algorithm.
        """

    @abstractmethod
    def views(self, batch: Batch, net: Network) -> Views:
        """Return the views to learn from. May run passes without learning, for hard negatives."""

    def sources(self, net: Network) -> tuple[Source, ...]:
        """Return the sources of the evidence in `scores`, in its order: all sources of the network."""
        return net.sources

    def neutral(self, x: Tensor, y: Tensor | None = None) -> Views:
        """Return one view of inputs (N, *shape) that favours no class. Readouts read it and learn on it."""
        return Views(x=x, roles=("all",), sizes=(rows(x),), y=y)

    def learn(self, batch: Batch, net: Network) -> None:
        """Learn from one batch: the readouts first, then the blocks.

        Not called while ``schedule.cache`` is in use: blocks then learn from stored `views`, and readouts
        from stored handoffs.
        """
        # The readouts first: they read the blocks before their update.
        if tuple(net.readouts):
            net.read(self.neutral(batch.x, batch.y), learn=True)
        net.learn(self.views(batch, net))

    def evidence(self, x: Tensor, net: Network) -> list[Tensor]:
        """Return the evidence of every block with a goodness, (N, *P, K) each, for inputs (N, *shape).

        The default is for goodness of form "class": one neutral pass.
        """
        return net.goodness(self.neutral(x))

    def scores(self, x: Tensor, net: Network) -> Tensor:
        """Return the evidence of every source, (L, N, *P, K): of the blocks, then of the readouts."""
        evidence = _listed(self.evidence(x, net), type(self).evidence)
        if tuple(net.readouts):
            evidence += net.read(self.neutral(x)).values()
        if evidence and evidence[0].dim() > 2:  # readouts of blocks with other positions
            evidence = same_positions(evidence)
        # Autocast may give sources different dtypes, which stack refuses.
        return torch.stack(_of_one_type(evidence, x))

    def measure(self, batch: Batch, net: Network) -> Mapping[str, Tensor]:
        """Return further metrics of the samples of a validation or test batch, (N,) by name.

        Their means over a split are written to ``metrics.csv`` and ``results.json``.
        """
        return {}

    def conclude(self, net: Network, train: Iterable[Batch], test: Iterable[Batch]) -> Mapping[str, Tensor]:
        """Return further results of a run, after training and the selection of the weights.

        Args:
            net: the network, in evaluation mode.
            train: the training split, in its own order.
            test: the test split.

        Returns:
            Arrays for ``arrays.npz`` by name. Those of a single number are also written to ``results.json``.
        """
        return {}


def _listed(evidence: Any, method: Any) -> list[Tensor]:
    """Return the evidence of a method as a list of tensors.

    Raises:
        UserError: it is something else; the message names the method.
    """
    listed = list(evidence) if isinstance(evidence, list | tuple | Tensor) else [evidence]
    others = [type(each).__name__ for each in listed if not isinstance(each, Tensor)]
    # no set of shapes: torch.export has symbols in place of numbers
    if others or any(each.shape != listed[0].shape for each in listed):
        given = f"has {a(others[0])}" if others else f"has shapes {[tuple(each.shape) for each in listed]}"
        what = f"the result of {method.__qualname__} {given}"
        raise UserError(f"algorithm: {what}; it should be a list of tensors (N, K), one for each source")
    return listed


def _of_one_type(evidence: list[Tensor], x: Any) -> list[Tensor]:
    """Convert evidence to the dtype of the samples. Integer samples, such as tokens, leave it unchanged."""
    if isinstance(x, Tensor) and x.is_floating_point():
        return [of_source.to(x.dtype) for of_source in evidence]
    return evidence
