"""One pass through a network: a loop over its stages, in which the windows of the plan learn.

    for each window of blocks:
        x ← x.detach()
        run the blocks            body → activity → goodness, handoff
        losses ← rule.learn()     gradients of the window's local losses
        optimisers step           block by block
        x ← handoff.detach()      computed before the optimisers step

The memory of a window's activations is free before the next window begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ffcore.errors import RunError
from ffcore.interfaces import Block, Circuit, Observer, Out, Views, ranks
from ffcore.interfaces.network import Handoff
from ffcore.interfaces.rule import Call
from ffcore.local.block import LocalBlock
from ffcore.local.box import BoxStage, ReachedError
from ffcore.local.current import under_way
from ffcore.local.plan import Place, Plan
from ffcore.local.residual import Residual
from ffcore.local.returned import wrong_learned
from ffcore.private import has_hooks

if TYPE_CHECKING:
    from ffcore.local.block_optimizer import BlockOptimizer

Record = Callable[[Block, Mapping[str, Tensor], int], None]
"""Receives a block, the detached terms of its loss (means over targets), and the number of targets."""


class Pass:
    """Runs stages, trains the blocks of a plan, and calls the observers after every block.

    Args:
        views: the views of the pass.
        observers: called after each block, in order.
        plan: places of the blocks that learn; all others run without a graph.
        wants_goodness: whether blocks that do not learn compute their goodness too.
        optimizers: the block optimisers, by name.
        record: receives the terms of each loss.
        finite: whether to raise on non-finite losses before any weight changes. This waits for the device.
        upstream: goodness of blocks that have run already.

    Attributes:
        bare_end: whether the handoff of the last stage is not needed.
        entering: is called when a black box is about to be called; None: nothing is.
    """

    def __init__(
        self,
        views: Views,
        observers: Sequence[Observer] = (),
        plan: Plan | None = None,
        wants_goodness: bool = False,
        optimizers: Mapping[str, BlockOptimizer] | None = None,
        record: Record | None = None,
        finite: bool = False,
        upstream: Sequence[Tensor] = (),
    ) -> None:
        self.views = views
        views.upstream[:] = upstream
        self.observers = tuple(observers)
        self.plan = plan or {}
        self.wants_goodness = wants_goodness
        self.optimizers = optimizers or {}
        self.record = record
        self.finite = finite
        self.bare_end = False
        self.entering: Callable[[], None] | None = None
        self._open: list[Call] = []  # calls of the current window, until its last block has run
        self._window: int | None = None
        self._slots: dict[Block, int] = {}  # each block's index in views.upstream
        self._apart = False  # within a circuit whose blocks do not see each other's goodness

    def run(self, stages: Sequence[nn.Module], x: Any) -> Any:
        """Run stages in order and return the output of the last: blocks, shortcuts, circuits, any module.

        Raises:
            RuntimeError: when the pass ended within a window, before its last block.
        """
        token = under_way.set(self)
        try:
            x = self._run(stages, x, self.bare_end)
        finally:
            under_way.reset(token)
        if self._open:
            names = ", ".join(block.name for block, _, _ in self._open)
            raise RuntimeError(f"the blocks {names} ran, but the last block of their window did not")
        return x

    def _run(self, stages: Sequence[nn.Module], x: Any, bare_end: bool = False) -> Any:
        end = len(stages) - 1 if bare_end else None
        for i, stage in enumerate(stages):
            # Calling a block through nn.Module would find this pass again; skipped unless hooks need it.
            if isinstance(stage, LocalBlock) and not has_hooks(stage):
                x = self.block(stage, x, last=i == end)
            elif type(stage) is Residual and not has_hooks(stage):
                x = self.around(stage, x)
            elif isinstance(stage, Circuit):
                self._apart = stage.divisible
                x = stage(x, self.views)
                self._apart = False
            else:
                x = called(stage, x)
        return x

    def block(self, block: LocalBlock, *inputs: Tensor, last: bool = False) -> Tensor:
        """Run one block. If it is the last of its window, the window learns. Returns the handoff.

        Args:
            block: the block.
            inputs: (R, *shape) each.
            last: whether the pass ends with this block. Its handoff is then not computed, and the result is
                the block's input.
        """
        if (optimizer := self.optimizers.get(block.name)) is not None:
            optimizer.finish()  # the step of the batch before, if it still waits for other ranks
        place = self.plan.get(block)
        if place is None:
            out = block.make_frozen(inputs, self.views, self.wants_goodness)
            self._show(block, inputs, out)
            return out.handoff
        self._window = place.window
        if place.first:
            inputs = tuple(_detached(x) for x in inputs)
        if block.frozen and block.training:
            block.eval()  # a frozen block must not update its running statistics
        if not place.last or (block.loss is not None and block.loss.reads_handoff):
            handoff: Handoff = "attached"
        else:
            handoff = "unused" if last else "detached"
        out = place.rule.run(block, inputs, self.views, handoff)
        out.upstream = tuple(self.views.upstream)
        self._open.append((block, inputs, out))
        if place.last:
            self._learn(place)
        self._show(block, inputs, out)
        if handoff == "unused":
            return inputs[0]
        return out.handoff.detach() if place.last else out.handoff

    def around(self, residual: Residual, x: Tensor) -> Tensor:
        """Run stages with a shortcut around them. The shortcut has a graph only within one window."""
        before = self._window
        y = self._run(tuple(residual.items), x)
        return residual.merged(x, y, attached=self._window == before)

    def _learn(self, place: Place) -> None:
        window, self._open = self._open, []
        if torch.is_grad_enabled():
            terms = place.rule.learn(window, self.views)
        else:
            with torch.enable_grad():  # a pass of readouts runs under no_grad
                terms = place.rule.learn(window, self.views)
        if not isinstance(terms, list | tuple) or len(terms) != len(window):
            raise wrong_learned(window[-1][0], place.rule, len(window), terms)
        # a block that ran twice in the window steps once
        blocks = [window[0][0]] if len(window) == 1 else list(dict.fromkeys(block for block, _, _ in window))
        if self.finite:
            _refuse_non_finite(window, terms)
        views = self.views
        idle, samples = ranks().idle, views.sizes[0] if views.targets is None else views.targets
        for block in blocks:
            if (optimizer := self.optimizers.get(block.name)) is not None:
                optimizer.update(0 if idle else samples)
        if self.record is not None and not idle:
            for (block, _, _), of_block in zip(window, terms, strict=True):
                self.record(block, of_block, samples)

    def _show(self, block: Block, inputs: tuple[Tensor, ...], out: Out) -> None:
        upstream = self.views.upstream
        out.upstream = tuple(upstream)
        for observer in self.observers:
            observer(block, inputs, out, self.views)
        if out.goodness is not None and not self._apart:
            slot = self._slots.setdefault(block, len(upstream))
            # replaces the goodness of an earlier call of the block, or appends
            upstream[slot : slot + 1] = [out.goodness.detach()]


def reaching(
    stages: Sequence[nn.Module], box: BoxStage, passes: Callable[[], Iterable[Views]]
) -> Iterator[Any]:
    """Yield the batches of a box's fit, one pass each; see `BlackBox.fit`."""
    for views in passes():
        try:
            with torch.no_grad(), box.catching():
                Pass(views).run(stages, views.x)
        except ReachedError as reached:
            yield (reached.x[: views.samples], views.y) if box.box.reads_targets else reached.x


def fit_due(
    stages: Sequence[nn.Module], finished: int, epoch: int, passes: Callable[[], Iterable[Views]]
) -> bool:
    """Fit the black boxes that are due, in order; return whether any was; see `LocalNetwork.fit_boxes`."""
    fitted = False
    for index, stage in enumerate(stages):
        for box in stage.modules():
            if isinstance(box, BoxStage):
                inputs = partial(reaching, stages, box, passes)
                fitted = box.fit_if_due(epoch, index < finished, inputs) or fitted
    return fitted


def called(stage: nn.Module, x: Any) -> Any:
    """Call a module with an input of one or several tensors: as arguments, or keyword arguments."""
    if isinstance(x, Mapping):
        return stage(**x)
    return stage(*x) if isinstance(x, tuple | list) else stage(x)


def _detached(x: Tensor) -> Tensor:
    """Detach an input, unless it is a leaf: that is a parameter of the caller."""
    return x.detach() if x.requires_grad and not x.is_leaf else x


def _refuse_non_finite(window: Sequence[Call], terms: Sequence[Mapping[str, Tensor]]) -> None:
    """Raise on a non-finite loss before the optimisers step, and clear the gradients."""
    for (block, _, _), of_block in zip(window, terms, strict=True):
        for name, term in of_block.items():
            if not math.isfinite(float(term)):
                for parameter in (p for other, _, _ in window for p in cast(LocalBlock, other).parameters()):
                    parameter.grad = None
                kept = "This batch has not changed the block's weights"
                buffers = cast(LocalBlock, block).named_buffers()
                if any("running_" in key and b.isnan().any() for key, b in buffers):
                    kept += ", but its running statistics are not finite any more: load them again"
                raise RunError(
                    f"block {block.name}: its loss ({name}) is {float(term)}; the batch may hold non-finite "
                    f"values, or the learning rate may be too high. {kept}"
                )
