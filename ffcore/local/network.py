"""A module with local blocks inside, and the passes through it that learn, measure and read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from ffcore.errors import UserError
from ffcore.interfaces import Block as BlockLike
from ffcore.interfaces import (
    BlockInfo,
    Circuit,
    Component,
    Goodness,
    Input,
    Observer,
    Out,
    Readout,
    Source,
    Views,
)
from ffcore.local.block import LocalBlock
from ffcore.local.box import BoxStage, ReachedError
from ffcore.local.loss import GoodnessLoss, ReadoutLoss
from ffcore.local.modes import evaluating
from ffcore.local.passing import Pass, Place
from ffcore.local.rules import Gradient
from ffcore.local.updater import Record, Updater


class Span(Protocol):
    """The stages that are one rank's, where blocks lie on several; what passes from rank to rank.

    Attributes:
        first: of its stages.
        stop: the first stage that is not its own any more.
        last: whether no rank comes after it; readouts are the last one's.
    """

    first: int
    stop: int
    last: bool

    def receive(self, kind: str, samples: int) -> list[Tensor]:
        """What the rank before has sent, of a batch of so many samples."""

    def send(self, kind: str, tensors: Sequence[Tensor], samples: int) -> None:
        """Send rows to the rank after; does not wait unless too many are on their way."""


class LocalNetwork(nn.Module):
    """Any PyTorch module with local blocks inside, and readouts beside it.

    A dry run on zeros finds the blocks in the order of their first call and the shapes of what they make, and
    tells their components (`Component.bind`). All blocks with a loss learn in windows of one until `plan`
    says otherwise.

    Args:
        body: the module; it may call a block more than once in a pass.
        shape: shape of one input sample.
        classes: number of classes K.
        readouts: readouts by name; each gets a local block of its own.
        group_of: (K,) super-class of each class, if there are any.

    Raises:
        UserError: when the body calls no local block.
    """

    def __init__(
        self,
        body: nn.Module,
        shape: Sequence[int],
        classes: int,
        readouts: Mapping[str, Readout] | None = None,
        group_of: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.body = body
        self.classes = classes
        self.shape = tuple(shape)
        self.readout_blocks = nn.ModuleDict(
            {name: LocalBlock(r, loss=ReadoutLoss(), name=name) for name, r in (readouts or {}).items()}
        )
        self.record: Record | None = None
        self.span: Span | None = None
        self.watchers: list[Observer] = []
        self._circuits = tuple(stage for stage in self.stages if isinstance(stage, Circuit))
        self._taps: dict[str, tuple[LocalBlock, ...]] = {}
        self._blocks = self._dry_run(group_of)
        self._plan: dict[BlockLike, Place] = {}
        self._first, self._stop = 0, len(self.stages)
        single = [range(i, i + 1) for i in range(len(self.learning))]
        with suppress(UserError):  # a network for another schedule: it gets its plan later
            self.plan(single)
        self._readout_plan: dict[BlockLike, Place] = {
            r: Place(i, True, True) for i, r in enumerate(self._readouts.values())
        }

    @property
    def blocks(self) -> Sequence[LocalBlock]:
        """The local blocks in the order of their first call, without the readouts."""
        return self._blocks

    @property
    def circuits(self) -> tuple[Circuit, ...]:
        """Those stages that are circuits."""
        return self._circuits

    @property
    def in_circuits(self) -> set[nn.Module]:
        """Everything that is part of a circuit."""
        return {part for circuit in self._circuits for part in circuit.modules()}

    @property
    def boxes(self) -> tuple[BoxStage, ...]:
        """Black boxes in their places, from below."""
        return tuple(part for part in self.body.modules() if isinstance(part, BoxStage))

    def fit_boxes(self, epoch: int, passes: Callable[[], Iterable[Views]]) -> bool:
        """Let those boxes adapt for which it is time, from below; whether there were any.

        Args:
            epoch: how many epochs have been learned.
            passes: what the blocks learn from, anew with each call.
        """
        fitted = False
        for index, stage in enumerate(self.stages):
            for box in stage.modules():
                if isinstance(box, BoxStage):
                    inputs = partial(self._reaching, box, passes)
                    fitted = box.fit_if_due(epoch, index < self._first, inputs) or fitted
        return fitted

    def _reaching(self, box: BoxStage, passes: Callable[[], Iterable[Views]]) -> Iterator[Tensor]:
        """What comes to a box."""
        for views in passes():
            try:
                with torch.no_grad(), box.catching(), Pass(views):
                    self.run_stages(views, views.x)
            except ReachedError as reached:
                yield reached.x

    @property
    def _readouts(self) -> dict[str, LocalBlock]:
        return {name: cast(LocalBlock, block) for name, block in self.readout_blocks.items()}

    @property
    def readouts(self) -> tuple[str, ...]:
        """Names of the readouts."""
        return tuple(self.readout_blocks)

    @property
    def learners(self) -> dict[str, LocalBlock]:
        """Everything that can learn, by name: blocks, then readouts."""
        return {block.name: block for block in (*self._blocks, *self._readouts.values())}

    @property
    def sources(self) -> tuple[Source, ...]:
        """Sources of evidence: blocks with a goodness, then readouts."""
        blocks = [Source(b.name, "block") for b in self._blocks if b.goodness is not None]
        return (*blocks, *(Source(name, "readout") for name in self.readout_blocks))

    @property
    def learning(self) -> list[int]:
        """Indices of the blocks that have something to learn; schedules count these."""
        return [i for i, block in enumerate(self._blocks) if block.trainable]

    def plan(self, windows: Sequence[range]) -> None:
        """Set which blocks learn, and which share a graph; see `ffcore.interfaces.Schedule`.

        Windows count the blocks that have parameters which learn. Blocks without any, such as pooling, belong
        to the window of the one before them, as far as it takes to reach a loss; frozen ones do so only where
        there is none before them.

        Raises:
            UserError: when a window has no loss to learn from, when windows overlap, when a block's handoff
                has parameters that nothing would train, or when blocks of a circuit share a window.
        """
        in_circuits = self.in_circuits
        starts = [*self.learning, len(self._blocks)]
        plan: dict[BlockLike, Place] = {}
        for number, window in enumerate(windows):
            if not window or len(starts) == 1:  # only readouts learn
                continue
            covered = self._blocks[starts[window.start] : starts[window.stop]]
            last = _end(covered, starts[window.stop - 1] - starts[window.start])
            if last is None:
                names = ", ".join(block.name for block in covered)
                raise UserError(f"nothing to learn from: no objective and no rule in the window of {names}")
            members = covered[: last + 1]
            if len(members) > 1 and not in_circuits.isdisjoint(members):
                names = ", ".join(block.name for block in members)
                raise UserError(f"blocks of a circuit learn one by one, but {names} share a window")
            for block in members:
                if block in plan:
                    raise UserError(f"the schedule puts block {block.name} into two windows at once")
                begins = block.graph_begins() if len(members) == 1 else "inputs"
                plan[block] = Place(number, block is members[0], block is members[-1], begins)
            _refuse_idle_handoff(members[-1])
        self._plan = plan
        busy = [i for i, stage in enumerate(self.stages) if not plan.keys().isdisjoint(stage.modules())]
        self._first, self._stop = (busy[0], busy[-1] + 1) if busy else (0, len(self.stages))

    def place(self, part: nn.Module) -> Place | None:
        """Where a block learns as things stand; None for what does not, and for what is no block."""
        return self._plan.get(cast(BlockLike, part)) if isinstance(part, LocalBlock) else None

    def learns(self, block: LocalBlock) -> bool:
        """Whether a block learns as things stand; readouts do unless they are frozen."""
        return block in self._plan or (block in self._readout_plan and not block.frozen)

    @property
    def stages(self) -> Sequence[nn.Module]:
        """What a pass goes through one after another: the parts of a sequential body, or the body."""
        return tuple(self.body) if type(self.body) is nn.Sequential else (self.body,)

    @property
    def finished(self) -> int:
        """How many stages of a sequential body come before the first one in which a block learns."""
        return self._first

    def forward(self, x: Input) -> Tensor:
        """What the body makes of ``x``: nothing learns, nobody watches."""
        return cast(Tensor, self.run_stages(Views(x=x, roles=("all",), sizes=(x.shape[0],)), x))

    def learn(self, views: Views, *, entered: bool = False) -> None:
        """One pass in which the blocks learn, each before the next one runs; it ends with the last of them.

        Args:
            views: the pass.
            entered: they come from `enter`: the finished stages have been passed.
        """
        updater = Updater(self.record)
        upstream = list(views.upstream) if entered else []
        if self._circuits:
            views = replace(views, learns=True)
        with Pass(views, (updater, *self.watchers), self._plan, wants_goodness=True):
            views.upstream.extend(upstream)
            if self.span is None:
                self.run_stages(views, views.x, self._first if entered else 0, self._stop)
            else:
                self._learn_span(self.span, views)
        updater.close()

    def end_batch(self) -> None:
        """All of a batch has been learned: groups of batches count it, and steps that wait are made."""
        steppers = [block.stepper for block in self.learners.values() if block.stepper is not None]
        for stepper in steppers:
            stepper.end_batch()
        for stepper in steppers:
            stepper.finish()

    def enter(self, views: Views) -> Views:
        """The views as the first stage with a block that learns receives them; nothing learns here."""
        with torch.no_grad(), Pass(views, wants_goodness=True):
            x = self.run_stages(views, views.x, 0, self._first)
        return replace(views, x=x)

    def run_stages(self, views: Views, x: Input, first: int = 0, stop: int | None = None) -> Input:
        """What some of the stages make of ``x``, within a pass that is under way, or without one."""
        for stage in self.stages[first:stop]:
            x = stage(x, views) if isinstance(stage, Circuit) else stage(x)
        return x

    def _learn_span(self, span: Span, views: Views) -> None:
        """This rank's stages learn from what the rank before has made."""
        x = views.x
        if span.first > 0:
            x, *upstream = span.receive("learn", views.samples)
            views.upstream.extend(upstream)
        x = self.run_stages(views, x, span.first, min(span.stop, self._stop))
        if not span.last:
            span.send("learn", [cast(Tensor, x), *views.upstream], views.samples)

    def _read_span(self, span: Span, views: Views, handed_on: dict[BlockLike, Tensor]) -> None:
        """This rank's stages, for readouts of the last rank, which need what all ranks' blocks hand on."""
        x = views.x
        if span.first > 0:
            x, *tapped = span.receive("read", views.samples)
            handed_on.update(zip(self._tapped(span.first), tapped, strict=True))
        x = self.run_stages(views, x, span.first, span.stop)
        if not span.last:
            tapped = [handed_on[block] for block in self._tapped(span.stop)]
            span.send("read", [cast(Tensor, x), *tapped], views.samples)

    def _tapped(self, stop: int) -> list[LocalBlock]:
        """Blocks that readouts listen to, of the stages before ``stop``."""
        parts = {part for stage in self.stages[:stop] for part in stage.modules()}
        heard = {block for taps in self._taps.values() for block in taps}
        return [block for block in self._blocks if block in heard and block in parts]

    def goodness(self, views: Views) -> list[Tensor]:
        """One pass without learning: each block's `Goodness.evidence`, in order of the blocks.

        Of a block that runs more than once it is the mean over `Circuit.reads`, or the last outside circuits.
        """
        seen = self._calls(views)
        reads = {part: circuit.reads for circuit in self.circuits for part in circuit.modules()}
        return [_read(seen[block], reads.get(block)) for block in self._blocks if block in seen]

    def trace(self, views: Views) -> list[list[Tensor]]:
        """One pass without learning: the evidence of every call, by block."""
        seen = self._calls(views)
        return [seen[block] for block in self._blocks if block in seen]

    def _calls(self, views: Views) -> dict[BlockLike, list[Tensor]]:
        seen: dict[BlockLike, list[Tensor]] = {}

        def collect(block: BlockLike, inputs: tuple[Input, ...], out: Out, views: Views) -> None:
            if out.goodness is not None and block.goodness is not None:
                seen.setdefault(block, []).append(block.goodness.evidence(out.goodness))

        with torch.no_grad(), Pass(views, (collect,), wants_goodness=True):
            self.run_stages(views, views.x)
        return seen

    def losses(self, views: Views) -> dict[str, Tensor]:
        """One pass without learning: each block's objective (not its penalties), by the block's name."""
        found: dict[str, Tensor] = {}

        def measure(block: BlockLike, inputs: tuple[Input, ...], out: Out, views: Views) -> None:
            objective = cast(LocalBlock, block).objective(out, views)
            if objective is not None:
                found[cast(LocalBlock, block).name] = objective

        with torch.no_grad(), Pass(views, (measure,), wants_goodness=True):
            self.run_stages(views, views.x)
        return found

    def read(self, views: Views, *, learn: bool = False) -> dict[str, Tensor]:
        """One pass in which the blocks do not learn: (R, K) logits of every readout.

        Args:
            views: usually one neutral view.
            learn: whether the readouts learn from ``views.y``; the logits are those before the update.
        """
        handed_on: dict[BlockLike, Tensor] = {}

        def tap(block: BlockLike, inputs: tuple[Input, ...], out: Out, views: Views) -> None:
            handed_on[block] = out.handoff

        with torch.no_grad(), Pass(views, (tap,)):
            if self.span is None or not learn:
                self.run_stages(views, views.x)
            else:
                self._read_span(self.span, views, handed_on)
                if not self.span.last:
                    return {}
        updater = Updater(self.record)
        observers = (updater, *self.watchers) if learn else ()
        logits = {}
        plan: dict[BlockLike, Place] = {}
        if learn:
            plan = {r: self._readout_plan[r] for r in self._readouts.values() if self.learns(r)}
        with Pass(views, observers, plan):
            for name, readout in self._readouts.items():
                logits[name] = readout(*(handed_on[b] for b in self._taps[name]))
        return logits

    def _dry_run(self, group_of: Tensor | None) -> tuple[LocalBlock, ...]:
        shapes: dict[LocalBlock, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        activities: dict[LocalBlock, Tensor] = {}

        def note(block: BlockLike, inputs: tuple[Input, ...], out: Out, views: Views) -> None:
            block = cast(LocalBlock, block)
            given = tuple(inputs[0].shape[1:]) if inputs else ()
            shapes.setdefault(block, (given, tuple(out.handoff.shape[1:])))
            activities.setdefault(block, out.activity)

        like = next((p for p in self.body.parameters()), torch.zeros(()))
        x = torch.zeros(2, *self.shape, dtype=like.dtype, device=like.device)
        views = Views(x=x, roles=("dry-run",), sizes=(2,))
        with evaluating(self), torch.no_grad(), Pass(views, (note,)):
            self.run_stages(views, x)
        if not shapes:
            raise UserError("network: it calls no local block, so there is nothing that could learn")
        blocks = tuple(shapes)
        infos: list[BlockInfo] = []
        judging = [block.goodness is not None for block in blocks]
        for depth, block in enumerate(blocks):
            block.name = block.name or f"block{depth + 1}"
            if block.name in {info.name for info in infos} | set(self.readout_blocks):
                raise UserError(f"network: the name {block.name!r} is taken twice; names are unique")
            info = BlockInfo(
                *(block.name, depth, len(blocks), tuple(activities[block].shape[1:]), self.classes),
                group_of=group_of,
                rank=sum(judging[:depth]),
                ranks=sum(judging),
                auxiliary=block.loss is not None and type(block.loss) is not GoodnessLoss,
                in_shape=shapes[block][0],
            )
            infos.append(_bind(block, info, activities[block]))
        for name, readout in self._readouts.items():
            body = cast(Readout, readout.body)
            taps = body.connect(infos, [shapes[b][1] for b in blocks])
            by_name = {b.name: b for b in blocks}
            self._taps[name] = tuple(by_name[tap] for tap in taps)
            readout.info = BlockInfo(name, len(blocks), len(blocks), (self.classes,), self.classes)
        return blocks


def _bind(block: LocalBlock, info: BlockInfo, activity: Tensor) -> BlockInfo:
    """Tell a block's components their place.

    Raises:
        UserError: when one does not fit there.
    """
    try:
        for part in (block.body, block.handoff, block.rule, block.goodness):
            if isinstance(part, Component):
                part.bind(info)
        block.to(activity.device)  # what they have made: a model that is localized may lie on a GPU
        if block.goodness is not None:
            unit, column_of = _unit_goodness(block.goodness, activity, info.classes), block.goodness.column_of
            info = replace(info, unit_goodness=unit, column_of=column_of, goodness=block.goodness)
        block.info = info
        if block.loss is not None:
            block.loss.bind(info)
            block.loss.to(activity.device)
    except ValueError as error:
        raise UserError(f"network: block {info.name}: {error}") from error
    return info


def _unit_goodness(goodness: Goodness, activity: Tensor, classes: int) -> float:
    """The mean goodness of ones in the shape of an activity.

    Raises:
        ValueError: when a goodness has another shape than its kind says.
    """
    with torch.no_grad():
        made = goodness(torch.ones_like(activity))
    energy = goodness.kind == "energy"
    if made.dim() != (1 if energy else 2) or len(made) != len(activity):
        right = "(R,)" if energy else "(R, K)"
        raise ValueError(
            f"the goodness of {len(activity)} rows has shape {tuple(made.shape)}; kind {goodness.kind!r} "
            f"means {right}"
        )
    if not energy:
        column_of = goodness.column_of
        wanted = classes if column_of is None else int(column_of.max()) + 1
        if made.shape[1] != wanted:
            raise ValueError(
                f"its goodness has {made.shape[1]} columns, where {classes} classes need {wanted}"
            )
    return float(made.float().mean())


def _read(calls: Sequence[Tensor], reads: range | None) -> Tensor:
    """The mean over those calls of a pass that count, or the last."""
    chosen = calls[reads.start : reads.stop] if reads is not None else ()
    return torch.stack(tuple(chosen)).mean(0) if chosen else calls[-1]


def _end(covered: Sequence[LocalBlock], learns: int) -> int | None:
    """Index of the block whose loss ends a window, if any has one; ``learns``: the last one that learns.

    What needs no loss has a rule of its own.
    """
    losses = [i for i, b in enumerate(covered) if b.loss is not None or type(b.rule) is not Gradient]
    beyond = [i for i in losses if i >= learns]
    frozen = next((i for i, b in enumerate(covered) if b.frozen and i > learns), len(covered))
    near = [i for i in beyond if i < frozen]
    return next(iter(near[-1:] or beyond[:1] or losses[-1:]), None)


def _refuse_idle_handoff(block: LocalBlock) -> None:
    idle = [name for name, p in block.handoff.named_parameters() if p.requires_grad]
    if idle and not (block.loss is not None and block.loss.reads_handoff):
        raise UserError(
            f"block {block.name}: its handoff has parameters that nothing would train ({', '.join(idle)}), "
            "since no gradient comes back from later blocks; use one without parameters"
        )
