"""A module that contains local blocks, and the passes that train it, measure it and run its readouts.

N samples; R rows = all views of a batch; K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from ffcore.errors import UserError
from ffcore.interfaces import Block, Circuit, Observer, Out, Readout, Source, Task, Views
from ffcore.interfaces.modes import evaluating
from ffcore.interfaces.structure import rows, tensors
from ffcore.interfaces.task import IGNORED
from ffcore.local.block import LocalBlock
from ffcore.local.block_optimizer import BlockOptimizer
from ffcore.local.box import BoxStage
from ffcore.local.dry_run import explore, set_up, set_up_heads, set_up_readouts
from ffcore.local.loss import ReadoutLoss, by_positions, scores_of
from ffcore.local.observed import Observed, collecting
from ffcore.local.optimizers import BlockOptimizers, no_optimizer
from ffcore.local.overlap import Overlap
from ffcore.local.passes import Pass, Record, fit_due
from ffcore.local.plan import Place, planned, refuse_upstream
from ffcore.local.returned import wrong_views
from ffcore.local.route import Routed
from ffcore.local.rules import Gradient
from ffcore.local.sharing import refuse_shared
from ffcore.private import hook_tables
from ffcore.tasks import as_task


class LocalNetwork(Routed, Observed):
    """Any PyTorch module that contains local blocks, together with readouts.

    A dry run on zeros finds the blocks in the order of their first call, and the shapes of their outputs.
    Then the components are set up. Until `plan` is called, each block with a loss is a window of its own.

    Args:
        body: the module; it may call a block more than once in a pass.
        shape: shape of one input sample.
        task: what the targets are; a number of classes K for the classification of samples.
        readouts: readouts by name; each is wrapped in a local block.
        superclass_of: (K,) super-class of each class, or None.
        example: (R, *shape) rows for the dry run, for bodies that cannot run on zeros, such as embeddings.
        heads: names of blocks of the body that learn like readouts; see `read`.

    Attributes:
        optimizers: the block optimisers; see `ffcore.local.block_optimizers`.
        observers: called after every block of a pass that learns.
        record: receives the terms of each block's loss.
        circuits: the stages that are circuits.
        finite: whether to raise on non-finite losses before any weight changes. This waits for the device.

    Raises:
        UserError: when the body does not call any local block.
    """

    def __init__(
        self,
        body: nn.Module,
        shape: Any,
        task: Task | int,
        readouts: Mapping[str, Readout] | None = None,
        superclass_of: Tensor | None = None,
        example: Any = None,
        heads: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.body = body
        self.task = as_task(task)
        self.classes = self.task.columns
        self.superclass_of = superclass_of
        self.shape = shape if isinstance(shape, Mapping) else tuple(shape)
        made = {name: by_positions(r, self.task.features) for name, r in (readouts or {}).items()}
        self.readout_blocks = nn.ModuleDict(
            {n: LocalBlock(r, loss=ReadoutLoss(), rule=r.rule(), name=n) for n, r in made.items()}
        )
        self.optimizers: BlockOptimizers | None = None
        self.record: Record | None = None
        self.observers: list[Observer] = []
        self.finite = False
        self.route = Overlap.of(self.stages)
        x = next(body.parameters(), torch.zeros(())).new_zeros(2, *self.shape) if example is None else example
        every = explore(self, self.stages, x, self.task, superclass_of)
        refuse_shared(every)
        found = {block: seen for block, seen in every.items() if block.name not in heads}
        self._heads = {block.name: block for block in every if block.name in heads}
        set_up(found, {*self.readout_blocks, *self._heads}, self.task, superclass_of)
        self._blocks = tuple(found)
        self.circuits = tuple(stage for stage in self.stages if isinstance(stage, Circuit))
        refuse_upstream(self.circuits)
        self._marks = bool(self.circuits) or any(box.box.observes for box in self.boxes)
        inside = self.in_circuits.union(*(block.modules() for block in every))
        self._plain = tuple(  # modules outside the blocks, such as batch norm and dropout
            part for part in body.modules() if part not in inside and not any(part.children())
        )
        self.taps = set_up_readouts(self._readouts, found, self.task, superclass_of)
        set_up_heads(self._heads, every, self.task)
        self._plan: dict[nn.Module, Place] = {}
        self._windows, self._hooks = cast("tuple[range, ...]", ()), cast("tuple[Any, ...]", ())
        self._first, self._stop, self._bare_end = 0, len(self.stages), False
        with suppress(UserError):  # blocks without a loss need a schedule with larger windows: see `plan`
            self.plan([range(i, i + 1) for i in range(len(self.learning))])
        self._readout_plan: dict[nn.Module, Place] = {
            r: Place(i, True, True, r.rule)
            for i, r in enumerate((*self._readouts.values(), *self._heads.values()))
        }

    # -- parts --------------------------------------------------------------------------------------------

    @property
    def blocks(self) -> Sequence[LocalBlock]:
        """The local blocks in the order of their first call, without the readouts."""
        return self._blocks

    @property
    def stages(self) -> Sequence[nn.Module]:
        """The stages of a pass, in order: the children of an `nn.Sequential` body, or the body itself."""
        return tuple(self.body) if type(self.body) is nn.Sequential else (self.body,)

    @property
    def in_circuits(self) -> set[nn.Module]:
        """All modules inside circuits."""
        return {part for circuit in self.circuits for part in circuit.modules()}

    @property
    def boxes(self) -> tuple[BoxStage, ...]:
        """The stages of black boxes, in order."""
        return tuple(part for part in self.body.modules() if isinstance(part, BoxStage))

    @property
    def _readouts(self) -> dict[str, LocalBlock]:
        return {name: cast(LocalBlock, block) for name, block in self.readout_blocks.items()}

    @property
    def readouts(self) -> tuple[str, ...]:
        """Names of the readouts, then of the heads."""
        return (*self.readout_blocks, *self._heads)

    @property
    def learners(self) -> dict[str, LocalBlock]:
        """All blocks, readouts and heads, by name."""
        every = (*self._blocks, *self._readouts.values(), *self._heads.values())
        return {block.name: block for block in every}

    @property
    def sources(self) -> tuple[Source, ...]:
        """Sources of evidence: blocks with a goodness, then readouts."""
        blocks = [Source(b.name, "block") for b in self._blocks if b.goodness is not None]
        return (*blocks, *(Source(name, "readout") for name in self.readouts))

    @property
    def learning(self) -> list[int]:
        """Indices of the blocks with trainable parameters; schedules count only these."""
        return [i for i, block in enumerate(self._blocks) if block.trainable]

    # -- which blocks learn -------------------------------------------------------------------------------

    def plan(self, windows: Sequence[range]) -> None:
        """Choose which blocks learn, and which share a graph; see `ffcore.local.plan.planned`.

        Raises:
            UserError: when the windows do not fit the blocks.
        """
        self.settle()
        self._look_for_hooks()  # before the plan: layers with hooks need autograd
        self._plan = planned(windows, self._blocks, self.in_circuits)
        self._windows = tuple(windows)
        busy = [i for i, stage in enumerate(self.stages) if not self._plan.keys().isdisjoint(stage.modules())]
        self._first, self._stop = (busy[0], busy[-1] + 1) if busy else (0, len(self.stages))
        # The last handoff need not be computed, unless it has buffers to update, such as running statistics.
        end = self.stages[self._stop - 1]
        self._bare_end = isinstance(end, LocalBlock) and next(end.handoff.buffers(), None) is None

    def refresh(self) -> bool:
        """Plan again if layers have got hooks since, or lost them: pruned weights need autograd."""
        if changed := self._look_for_hooks():
            self.plan(self._windows)
        return changed

    def _look_for_hooks(self) -> bool:
        """Set `LocalBlock.hooked` of all blocks; return whether it has changed."""
        changed = [block.refresh() for block in self.learners.values()]  # all of them, not up to the first
        plain = [block.body for block in self.learners.values() if not block.hooked]
        self._hooks = tuple(table for body in plain for m in body.modules() for table in hook_tables(m))
        return any(changed)

    def place(self, part: nn.Module) -> Place | None:
        """Return the place of a block in the current plan; None for other modules, and blocks not in it."""
        return self._plan.get(part)

    def learns(self, block: LocalBlock) -> bool:
        """Return whether a block learns under the current plan. A readout learns unless it is frozen."""
        return block in self._plan or (block in self._readout_plan and not block.frozen)

    @property
    def finished(self) -> int:
        """Number of finished stages: those before the first stage in which a block learns."""
        return self._first

    @property
    def stop(self) -> int:
        """Index of the stage before which a learning pass ends: one after the last that learns."""
        return self._stop

    # -- passes -------------------------------------------------------------------------------------------

    def forward(self, x: Any) -> Any:
        """Return the body's output for ``x`` (N, *shape), without learning and without observers."""
        self.settle()
        self.refuse_parts()
        return Pass(Views(x=x, roles=("all",), sizes=(rows(x),))).run(self.stages, x)

    def learn(self, views: Views, *, entered: bool = False) -> None:
        """Run one pass in which the blocks learn, each before the next one runs, up to the last that learns.

        Args:
            views: the views of the pass.
            entered: whether the views come from `enter`, and have passed the finished stages already.

        Raises:
            UserError: when the blocks have no optimisers.
        """
        if not self._plan and self.route is None:  # no running statistics should move
            self.observe(views, *self.observers)
            return
        self._require_optimizers(self._plan)
        if any(self._hooks):  # a layer has been pruned since the last step
            self.refresh()
        views = replace(views, learns=True) if self._marks else views
        here = self._pass(views, self.observers, self._plan, list(views.upstream) if entered else [])
        stages = range(self._first if entered else 0, self._stop)
        if self.route is None:
            here.bare_end = self._bare_end
            here.run(self.stages[stages.start : stages.stop], views.x)
        else:
            self.route.learn(self, here, stages)

    def end_batch(self) -> None:
        """Count the batch in accumulated groups, and make the steps that wait for other ranks."""
        # two loops: all sums over ranks begin before the first one is waited for
        for optimizer in self.optimizers or ():
            optimizer.end_batch()
        for optimizer in self.optimizers or ():
            optimizer.finish()

    def enter(self, views: Views) -> Views:
        """Run the finished stages; return the views at the input of the first stage that learns."""
        self.settle()
        with torch.no_grad():
            return replace(views, x=self._pass(views).run(self.stages[: self._first], views.x))

    @property
    def _reads(self) -> dict[Any, range]:
        """See `Observed`."""
        return {part: circuit.reads for circuit in self.circuits for part in circuit.modules()}

    def _calls(self, views: Views) -> dict[Block, list[Tensor]]:
        if not self.measured_apart:
            return super()._calls(views)
        assert self.route is not None
        seen: dict[Block, list[Tensor]] = {}
        with torch.no_grad(), evaluating(*self._plain):
            self.route.goodness(self, self._pass(views, (collecting(seen),)), seen)
        return seen

    def losses(self, views: Views) -> dict[str, Tensor]:
        """Run one pass without learning; return each block's objective (without penalties), by name."""
        found: dict[str, Tensor | None] = {}

        def measure(block: Block, inputs: tuple[Tensor, ...], out: Out, views: Views) -> None:
            found[block.name] = cast(LocalBlock, block).objective(out, views)

        self.observe(views, measure)
        return {name: objective for name, objective in found.items() if objective is not None}

    def observe(self, views: Views, *observers: Observer) -> Any:
        """Run one pass without learning, with these observers; return the output of the last stage.

        Raises:
            RuntimeError: when this process does not hold all blocks.
        """
        self.settle()
        self.refuse_parts()
        with torch.no_grad(), evaluating(*self._plain):
            return self._pass(views, observers).run(self.stages, views.x)

    def tapped(self, views: Views) -> dict[Block, Tensor]:
        """Run one pass without learning; return the handoffs that the readouts read."""
        made = self.outputs(views)
        return {block: made[block.name].handoff for blocks in self.taps.values() for block in blocks}

    def read(
        self, views: Views, *, learn: bool = False, tapped: Mapping[Block, Tensor] | None = None
    ) -> dict[str, Tensor]:
        """Run one pass in which the blocks do not learn; return (R, K) logits of every readout and head.

        A readout reads handoffs after the pass. A head is a block of the body, and learns during the pass.

        Args:
            views: usually one neutral view.
            learn: whether the readouts learn from ``views.y``. The logits are those before the update.
            tapped: the handoffs that readouts read, if they are known; the blocks then do not run.

        Raises:
            UserError: when ``learn`` is True and the readouts have no optimisers.
        """
        handoffs: dict[Block, Tensor] = dict(tapped or {})

        def tap(block: Block, inputs: tuple[Tensor, ...], out: Out, views: Views) -> None:
            handoffs[block] = out.handoff.detach()
            if cast(LocalBlock, block) in plan:  # a head
                for observer in self.observers:
                    observer(block, inputs, out, views)

        self.settle()
        plan = {r: p for r, p in self._readout_plan.items() if learn and self.learns(cast(LocalBlock, r))}
        self._require_optimizers(plan)
        # Evaluation mode, so that a batch updates running statistics once, in the pass in which blocks learn.
        with torch.no_grad(), evaluating(*self._plain):
            here = self._pass(views, (tap,), plan)
            here.wants_goodness = False
            if self.route is not None and (learn or self.measured_apart):
                if not self.route.read(self, here, handoffs):
                    x = next(tensors(views.x))
                    return {name: x.new_zeros(len(x), self.classes) for name in self.readouts}
            elif tapped is None:
                here.run(self.stages, views.x)
        logits = {name: scores_of(handoffs[head], head.features) for name, head in self._heads.items()}
        here = self._pass(views, self.observers if learn else (), plan)
        read = {
            name: here.block(readout, *(handoffs[b] for b in self.taps[name]))
            for name, readout in self._readouts.items()
        }
        return {**read, **logits}

    def fit_boxes(self, epoch: int, passes: Callable[[], Iterable[Views]]) -> bool:
        """Fit the black boxes that are due, in order; return whether any was fitted.

        Args:
            epoch: number of epochs learned so far.
            passes: returns a new iterable of the views that blocks learn from, with each call.
        """
        self.settle()
        return fit_due(self.stages, self._first, epoch, passes)

    def _pass(
        self,
        views: Views,
        observers: Sequence[Observer] = (),
        plan: Mapping[nn.Module, Place] | None = None,
        upstream: Sequence[Tensor] = (),
    ) -> Pass:
        """Return a pass that measures goodness; the blocks of the plan learn."""
        if not isinstance(views, Views):
            raise wrong_views(views)
        if removed := [block.name for block in self.blocks if block.removed]:
            raise UserError(
                f"this network was delocalized: the model has no local block {removed[0]} any more; use the "
                "model, or call ffcore.localize again"
            )
        if plan and self.task.features is not None and views.y is not None:
            views = replace(views, targets=int((views.y != IGNORED).sum()))
        return Pass(views, observers, plan, True, self._by_name, self.record, self.finite, upstream)

    @property
    def _by_name(self) -> Mapping[str, BlockOptimizer]:
        return self.optimizers.blocks if self.optimizers is not None else {}

    def _require_optimizers(self, plan: Mapping[nn.Module, Place]) -> None:
        for part, place in plan.items():
            block = cast(LocalBlock, part)
            if block.name not in self._by_name and isinstance(place.rule, Gradient) and block.trainable:
                raise no_optimizer(block.name)
