"""One learning step on one batch, with every output, loss, gradient and parameter change of each block.

R rows = all views of a batch, stacked view by view; K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from ffcore.errors import UserError
from ffcore.interfaces import BatchRNG, Block, NegativeData, Out, Progress, Views
from ffcore.interfaces.modes import evaluating
from ffcore.interfaces.structure import tensors
from ffcore.local import BlockOptimizer, BlockOptimizers, LocalBlock
from ffcore.local.given import refuse_samples
from ffcore.local.optimizers import refuse_others
from ffcore.local.returned import described
from ffcore.network import Network


@dataclass(frozen=True, eq=False)
class BlockStep:
    """One call of one block in a step; all tensors are detached copies.

    Attributes:
        block: name of the block or readout.
        call: index of this call among the calls of the block in this step, from 0.
        roles: names of the views, such as "positive" and "negative".
        sizes: number of rows of each view.
        inputs: (R, *in_shape) each.
        activity: (R, *shape) output of the body, input of the goodness.
        handoff: (R, *shape') input of later blocks.
        goodness: (R,) energies or (R, K) class goodness; None for a block without a goodness.
        losses: terms of the local loss, scalars by name; empty if the block did not learn.
        gradients: by the parameter's name within the block; empty if the block did not learn.
        before: parameters before the update, by the same names.
        after: parameters after the update.
    """

    block: str
    call: int
    roles: tuple[str, ...]
    sizes: tuple[int, ...]
    inputs: tuple[Tensor, ...]
    activity: Tensor
    handoff: Tensor
    goodness: Tensor | None
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    gradients: Mapping[str, Tensor] = field(default_factory=dict)
    before: Mapping[str, Tensor] = field(default_factory=dict)
    after: Mapping[str, Tensor] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Return the block's name and loss, and shapes; the tensors have too many numbers to be printed."""
        shapes = {"activity": self.activity, "handoff": self.handoff, "goodness": self.goodness}
        parts = [f"{name} {tuple(t.shape)}" for name, t in shapes.items() if t is not None]
        losses = [f"{name} {float(value):.4g}" for name, value in self.losses.items()]
        views = ", ".join(f"{role} {size}" for role, size in zip(self.roles, self.sizes, strict=True))
        return f"BlockStep({self.block!r}, call {self.call}; views {views}; {', '.join([*parts, *losses])})"

    def of(self, t: Tensor, role: str) -> Tensor:
        """Return the rows of ``t`` (R, …) that belong to a view.

        Raises:
            KeyError: when no view has that role.
        """
        return Views(t, self.roles, self.sizes).of(t, role)


def one_step(
    net: Network,
    x: Any,
    y: Tensor,
    optimizers: BlockOptimizers | None = None,
    *,
    progress: Progress | None = None,
    negatives: tuple[Tensor, Tensor | None] | None = None,
) -> list[BlockStep]:
    """Run one learning step on one batch and return what every block computed. It needs no trainer.

    The step is bit-identical to that of `Network.learn`. It changes the network; pass a ``copy.deepcopy`` to
    keep the original.

    >>> import torch, ffcore
    >>> net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10)
    >>> steps = ffcore.one_step(net, torch.rand(4, 1, 8, 8), torch.arange(4))
    >>> [(s.block, tuple(s.goodness.shape), sorted(s.losses)) for s in steps][:1]
    [('dense1', (8,), ['objective'])]

    Args:
        net: the network.
        x: (N, *shape) samples.
        y: (N,) int64 classes.
        optimizers: as for `Network.learn`.
        progress: the progress of the run, such as ``Progress(epoch=3, step=0, epochs=60)``.
        negatives: (N, *shape) negative samples and their (N,) hypotheses, or None for the hypotheses. They
            replace those of the algorithm's negative data.

    Returns:
        One entry for each call of a block, in the order of the calls. Readouts learn first and come first.

    Raises:
        UserError: as `Network.learn`, or when the algorithm has no negative data to replace.
    """
    if not isinstance(net, Network):
        raise UserError(f"net: a {type(net).__name__} is not an ffcore.Network")
    net.batch(x, y, 0, 0)  # raises if x or y do not fit, before anything changes
    if optimizers is not None:
        refuse_others(optimizers, net.local)
        net.local.optimizers = optimizers
    watch = _Watch(net)
    with _replaced(net, _pair(negatives, net.classes)), watch.watching():
        net.learn(x, y, progress=progress)
    return watch.steps()


class _Watch:
    """Records calls, losses and updates, which arrive separately, and joins them by block."""

    def __init__(self, net: Network) -> None:
        self.net = net
        self._seen: list[BlockStep] = []
        self._losses: dict[str, list[Mapping[str, Tensor]]] = {}
        self._updates: dict[str, list[tuple[dict[str, Tensor], ...]]] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        local = self.net.local
        given, learners = local.optimizers, local.learners
        if given is not None:
            local.optimizers = _Watched(given, {n: self._update(learners[n]) for n in given.blocks})
        local.observers.append(self)
        self.net.records.append(self._record)
        try:
            yield
        finally:
            self.net.records.remove(self._record)
            local.observers.remove(self)
            local.optimizers = given

    def __call__(self, block: Block, inputs: tuple[Tensor, ...], out: Out, views: Views) -> None:
        """See `ffcore.interfaces.Observer`."""
        # copies, since the update after this call changes memory in place
        goodness = None if out.goodness is None else _copy(out.goodness)
        call = sum(step.block == block.name for step in self._seen)
        made = (tuple(_copy(t) for t in inputs), _copy(out.activity), _copy(out.handoff), goodness)
        self._seen.append(BlockStep(block.name, call, views.roles, views.sizes, *made))

    def _record(self, block: Block, terms: Mapping[str, Tensor], samples: int) -> None:
        copies = {name: _copy(term) for name, term in terms.items()}
        self._losses.setdefault(block.name, []).append(copies)

    def _update(self, block: LocalBlock) -> Callable[[Callable[[], None]], None]:
        def updated(step: Callable[[], None]) -> None:
            gradients = {n: _copy(p.grad) for n, p in block.named_parameters() if p.grad is not None}
            before = _parameters(block)
            step()
            self._updates.setdefault(block.name, []).append((gradients, before, _parameters(block)))

        return updated

    def steps(self) -> list[BlockStep]:
        """Return all calls, each with its losses and its update."""
        joined = []
        for seen in self._seen:
            # A block that did not learn in a call has no losses and no update for it.
            losses = self._losses.get(seen.block, [])[seen.call : seen.call + 1] or [{}]
            updates = self._updates.get(seen.block, [])
            now = _parameters(self.net.local.learners[seen.block])
            gradients, before, after = updates[seen.call] if seen.call < len(updates) else ({}, now, now)
            parts = {
                **vars(seen),
                "losses": losses[0],
                "gradients": gradients,
                "before": before,
                "after": after,
            }
            joined.append(BlockStep(**parts))
        return joined


class _Watched(BlockOptimizers):
    """The same optimisers, with a wrapper around each update."""

    def __init__(
        self, given: BlockOptimizers, around: Mapping[str, Callable[[Callable[[], None]], None]]
    ) -> None:
        self.blocks = {n: cast(BlockOptimizer, _Around(b, around[n])) for n, b in given.blocks.items()}


class _Around:
    """Wraps ``update`` of a block optimiser; every other attribute is the optimiser's own."""

    def __init__(self, inner: BlockOptimizer, around: Callable[[Callable[[], None]], None]) -> None:
        self.inner, self.around = inner, around

    def update(self, samples: int) -> None:
        self.around(lambda: self.inner.update(samples))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def activities(net: Network, x: Any) -> dict[str, Tensor]:
    """Return the activity of every block in evaluation mode, detached: features for other methods.

    The input favours no class. For a block that runs several times it is the activity of the last call.

    >>> import torch, ffcore
    >>> net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10)
    >>> {name: tuple(h.shape) for name, h in ffcore.activities(net, torch.rand(4, 1, 8, 8)).items()}
    {'dense1': (4, 500), 'dense2': (4, 500), 'dense3': (4, 500)}

    Args:
        net: the network.
        x: (N, *shape) samples, as for `Network.learn`.

    Returns:
        (N, *activity) by the block's name, in the order of the calls.

    Raises:
        UserError: when x does not fit the network.
    """
    refuse_samples(x, net.shape, net.floats)
    with torch.no_grad(), evaluating(net), net.mixed(next(tensors(x)).device):
        made = net.local.outputs(net.algorithm.neutral(x))
    return {name: out.activity.detach() for name, out in made.items()}


class _Given(NegativeData):
    """Negative data that returns the given samples."""

    def __init__(self, x: Tensor, hypotheses: Tensor | None) -> None:
        super().__init__()
        self.x, self.y = x, hypotheses

    def forward(
        self, x: Tensor, y: Tensor | None, probs: Callable[[], Tensor], rng: BatchRNG
    ) -> tuple[Tensor, Tensor | None]:
        if self.x.shape != x.shape or self.x.dtype != x.dtype:
            raise UserError(f"negatives: the samples are {described(self.x)}, the batch is {described(x)}")
        if self.y is not None and self.y.shape != x.shape[:1]:
            raise UserError(f"negatives: hypotheses {tuple(self.y.shape)} for a batch {tuple(x.shape)}")
        return self.x, self.y


def _pair(negatives: Any, classes: int) -> tuple[Tensor, Tensor | None] | None:
    """Return given negatives, checked; `_Given` and its caller check shapes against those of the batch."""
    if negatives is None:
        return None
    if not isinstance(negatives, tuple | list) or len(negatives) != 2:
        given = described(negatives)
        raise UserError(f"negatives: should be a pair: samples and their hypotheses, or None; not {given}")
    x, hypotheses = negatives
    if not isinstance(x, Tensor):
        raise UserError(f"negatives: samples should be a tensor, not {described(x)}")
    if hypotheses is not None:
        if not isinstance(hypotheses, Tensor) or hypotheses.dtype != torch.int64 or not hypotheses.dim():
            right = "an int64 tensor of classes, or None"
            raise UserError(f"negatives: hypotheses should be {right}, not {described(hypotheses)}")
        if len(hypotheses) and not 0 <= int(hypotheses.min()) <= int(hypotheses.max()) < classes:
            given = f"{int(hypotheses.min())} to {int(hypotheses.max())}"
            raise UserError(f"negatives: hypotheses run from {given}; they should be 0 to {classes - 1}")
    return x, hypotheses


@contextmanager
def _replaced(net: Network, negatives: tuple[Tensor, Tensor | None] | None) -> Iterator[None]:
    """Replace the algorithm's negative data within the context."""
    if negatives is None:
        yield
        return
    # the negative data may be a sub-module of any part of the algorithm
    places: Sequence[tuple[nn.Module, str, NegativeData]] = [
        (parent, name, child)
        for parent in net.algorithm.modules()
        for name, child in parent.named_children()
        if isinstance(child, NegativeData)
    ]
    if not places:
        raise UserError(f"negatives: {type(net.algorithm).__name__} learns without negative data")
    # a sub-module is replaced by assignment on its parent
    parent, name, child = places[0]
    setattr(parent, name, _Given(*negatives))
    try:
        yield
    finally:
        setattr(parent, name, child)


def _parameters(block: LocalBlock) -> dict[str, Tensor]:
    return {name: _copy(parameter) for name, parameter in block.named_parameters()}


def _copy(t: Tensor) -> Tensor:
    return t.detach().clone(memory_format=torch.preserve_format)
