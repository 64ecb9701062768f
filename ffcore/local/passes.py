"""One pass through a network: the loop over its stages, in which the windows of a schedule learn.

    for each window of blocks:
        x ← x.detach()
        run the blocks            body → activity → goodness, handoff
        losses ← rule.learn()     gradients of the window's local losses
        optimisers step           block by block
        x ← handoff.detach()      as it was before the window learned

Activations of a window are free before the next one begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ffcore.errors import RunError
from ffcore.interfaces import Block, Circuit, Observer, Out, Views, ranks
from ffcore.interfaces.network import Handoff
from ffcore.interfaces.rule import Call
from ffcore.local.block import LocalBlock
from ffcore.local.current import under_way
from ffcore.local.plan import Place, Plan
from ffcore.local.residual import Residual
from ffcore.private import has_hooks

if TYPE_CHECKING:
    from ffcore.local.block_optimizer import BlockOptimizer

Record = Callable[[Block, Mapping[str, Tensor], int], None]
"""Receives a block, the detached terms of its loss, and the number of samples they are a mean over."""


class Pass:
    """Runs stages, lets the blocks of a plan learn, and shows every block to observers.

    Args:
        views: what goes through.
        observers: called after each block, in order.
        plan: places of the blocks that learn; all others are frozen.
        wants_goodness: whether blocks that do not learn compute their goodness too.
        optimizers: of the blocks, by name.
        record: receives the terms of each loss.
        finite: refuse non-finite losses before any weight changes; this waits for the device.
        upstream: goodness of blocks that have run already.

    Attributes:
        bare_end: whether what the last stage hands on is not needed.
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
        self._open: list[Call] = []  # blocks of a window whose last one has not run yet
        self._window: int | None = None
        self._slots: dict[Block, int] = {}  # in views.upstream

    def run(self, stages: Sequence[nn.Module], x: Any) -> Any:
        """What the stages make of ``x``, one after another: blocks, shortcuts, circuits, any module.

        Raises:
            RuntimeError: when a window began and its last block did not run.
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
            if isinstance(stage, LocalBlock) and not has_hooks(stage):
                x = self.block(stage, x, last=i == end)
            elif type(stage) is Residual and not has_hooks(stage):
                x = self.around(stage, x)
            elif isinstance(stage, Circuit):
                x = stage(x, self.views)
            else:
                x = _called(stage, x)
        return x

    def block(self, block: LocalBlock, *inputs: Tensor, last: bool = False) -> Tensor:
        """Run one block, and let its window learn if this completes it: the step of forward-only learning.

        Args:
            block: the block.
            inputs: (R, *shape) each.
            last: whether the pass ends with it, so that its handoff is not needed: its input comes back.
        """
        if (optimizer := self.optimizers.get(block.name)) is not None:
            optimizer.finish()
        place = self.plan.get(block)
        if place is None:
            out = block.make_frozen(inputs, self.views, self.wants_goodness)
            self._show(block, inputs, out)
            return out.handoff
        self._window = place.window
        if place.first:
            inputs = tuple(_detached(x) for x in inputs)
        if block.frozen and block.training:
            block.eval()  # its running statistics stand still too
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
        """A shortcut around stages: it carries a graph only within a window."""
        before = self._window
        y = self._run(tuple(residual.items), x)
        return residual.merged(x, y, attached=self._window == before)

    def _learn(self, place: Place) -> None:
        window, self._open = self._open, []
        if torch.is_grad_enabled():
            terms = place.rule.learn(window, self.views)
        else:
            with torch.enable_grad():  # a pass for readouts has no graph elsewhere
                terms = place.rule.learn(window, self.views)
        blocks = [window[0][0]] if len(window) == 1 else list(dict.fromkeys(block for block, _, _ in window))
        if self.finite:
            _refuse_non_finite(window, terms)
        idle, samples = ranks().idle, self.views.sizes[0]
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
        if out.goodness is not None:
            slot = self._slots.setdefault(block, len(upstream))
            upstream[slot : slot + 1] = [out.goodness.detach()]  # in its own place, or after the last


def _called(stage: nn.Module, x: Any) -> Any:
    """What a module makes of its input, which may be several tensors."""
    if isinstance(x, Mapping):
        return stage(**x)
    return stage(*x) if isinstance(x, tuple) else stage(x)


def _detached(x: Tensor) -> Tensor:
    """Without its graph; a leaf is the caller's own and stays as it is."""
    return x.detach() if x.requires_grad and not x.is_leaf else x


def _refuse_non_finite(window: Sequence[Call], terms: Sequence[Mapping[str, Tensor]]) -> None:
    """Raise before the optimisers step, without the gradients."""
    for (block, _, _), of_block in zip(window, terms, strict=True):
        for name, term in of_block.items():
            if not math.isfinite(float(term)):
                for parameter in (p for other, _, _ in window for p in cast(LocalBlock, other).parameters()):
                    parameter.grad = None
                raise RunError(
                    f"block {block.name}: its loss ({name}) is {float(term)}; the batch may hold non-finite "
                    "values, or the learning rate be too high. This batch has not changed the block's weights"
                )
