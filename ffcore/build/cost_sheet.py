"""Makes the cost sheet of a network: counts steps of a copy, see `ffcore.local.cost_sheet`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ffcore.blame import reported
from ffcore.build.copied import copied, plan_all
from ffcore.engine.cache import cached_step
from ffcore.errors import FOREIGN, UserError, expect_count
from ffcore.interfaces import BlackBox
from ffcore.interfaces.structure import mapped, rows
from ffcore.local import BlockOptimizers, BoxStage, LocalBlock, block_optimizers
from ffcore.local.cost_sheet import BlockSheet, CostSheet, Line, Part, memory_of
from ffcore.local.counted import OUTSIDE, Counter, Held
from ffcore.local.optimizers import Make
from ffcore.network import Network

_SAMPLES = 2
"""Samples of a counted step: the fewest with which all algorithms learn."""


def cost_sheet(
    net: Network,
    batch_size: int,
    optimizers: BlockOptimizers | Make | Mapping[str, Make] | None = None,
    *,
    example: Any = None,
) -> CostSheet:
    """Count what a network costs: parameters, multiplications, and bytes of RAM and flash.

    Steps of two and four samples run on a copy. Its black boxes are replaced by stand-ins that return random
    numbers of the same shape. The network, its random numbers and its running statistics do not change.

        learn, predict = multiplications of a step of 2 samples / 2
        RAM, block by block = u W + 4 S + 4 max_b G_b + u max_b A_b(N)

    with u bytes a number (4 in float32, 1 in int8), W parameters, S numbers in the states of the optimisers,
    G_b trainable parameters of a block b, and A_b(N) numbers that it holds to learn from N samples: inputs,
    outputs and what autograd keeps between them, (R, *shape) each for R rows of all views. The other formulas
    are at the top of ``ffcore/local/cost_sheet.py``.

    Multiplications are those of matrix products and convolutions, as the network computes them. So a
    prediction that tries K labels has K rows a sample, and a dense layer multiplies what these rows share
    (`ffcore.interfaces.LabelledInput`) once. Products between the samples of a batch are those of two
    samples. Products of optimisers are left out. Blocks that the schedule lets learn later are counted as
    learning alone.

    >>> import ffcore
    >>> net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10)
    >>> sheet = ffcore.cost_sheet(net, batch_size=64)
    >>> sheet.parameters, sheet.predict
    (533500, 5082000)
    >>> sheet.ram("by block", "int8") < sheet.ram("backprop", "int8")
    True

    Args:
        net: the network; it may be trained.
        batch_size: number of samples of a batch, for the RAM.
        optimizers: those of the network, or what `ffcore.optimizers` takes: a torch optimiser class, a
            function, a mapping. None: those that the network has; without any, their state is not counted.
        example: (n, *shape) a few samples with values that the network accepts; None for random numbers, or
            zeros where the first block takes integers. For models with several inputs of other types.

    Returns:
        The sheet. What cannot be counted is None there, with the reason in ``notes``.

    Raises:
        UserError: an argument has the wrong type.
    """
    if not isinstance(net, Network):
        raise UserError(f"net: should be an ffcore.Network, not a {type(net).__name__}")
    expect_count("batch_size", batch_size)
    learners = net.local.learners
    own = {name: _weights(block.parameters()) for name, block in learners.items()}
    everything = {p: None for part in (net.local, *learners.values()) for p in part.parameters()}
    parameters = _weights(everything)
    notes = []
    counts = Counts()
    if (reason := refused(learners.values())) is None:
        try:
            counts.count(net, optimizers, example)
        except FOREIGN as error:
            reason = f"a step of a copy failed: {reported(error)}"
    if reason is not None:
        notes.append(f"multiplications and RAM are not counted: {reason}")
        counts = Counts()
    else:
        named = [f"black box {box.name} is not called" for box in net.local.boxes]
        notes += [f"{each}; its own costs are not counted" for each in named]
        if not counts.optimizers:
            notes.append("the network has no optimisers; their state is not counted")
    if "predict" in counts.failed:
        notes.append(f"multiplications to predict are not counted: {counts.failed['predict']}")
    blocks = [
        BlockSheet(
            name,
            own[name],
            _of(counts.predict, name),
            _of(counts.learn, name),
            counts.held(name),
        )
        for name in learners
    ]
    outside = parameters - sum(own.values())
    beside = BlockSheet(
        "outside blocks", outside, _of(counts.predict, OUTSIDE), _of(counts.learn, OUTSIDE), None
    )
    if outside or beside.predict or beside.learn:
        blocks.append(beside)
    weights = {name: _weights(_stored(block)) for name, block in learners.items()}
    stored = {t: None for part in (net.local, *learners.values()) for t in _stored(part)}
    every = _weights(stored)
    return CostSheet(
        batch_size=batch_size,
        blocks=tuple(blocks),
        parameters=parameters,
        predict=None if counts.predict is None else sum(counts.predict.values()),
        learn=None if counts.learn is None else sum(counts.learn.values()),
        flash={"float32": 4 * every, "int8": every},
        memory=counts.memory(net, weights, every - sum(weights.values()), batch_size),
        notes=tuple(notes),
    )


class Counts:
    """What steps of a copy have given.

    Attributes:
        predict: multiplications for one sample by block; None if not counted.
        learn: the same.
        cached: multiplications to fill a cache with one sample, in total; 0 without one.
        failed: reasons.
        optimizers: whether the states of optimisers are known.
    """

    def __init__(self) -> None:
        self.predict: dict[str, int] | None = None
        self.learn: dict[str, int] | None = None
        self.cached = 0
        self.failed: dict[str, str] = {}
        self.optimizers = False
        self._windows: dict[tuple[str, ...], Line] = {}
        self._whole = Line(0, 0)
        self._state: dict[str, int] = {}
        self._all_gradients = False

    def count(
        self, net: Network, optimizers: Any, example: Any, windows: Sequence[range] | None = None
    ) -> None:
        """Run the steps, in which these windows learn, with the schedule's cache; None: all blocks."""
        device = next((p.device for p in net.parameters()), torch.device("cpu"))
        devices = [device] if device.type == "cuda" else []
        with warnings.catch_warnings(), torch.random.fork_rng(devices), torch.inference_mode(False):
            warnings.simplefilter("ignore")
            torch.manual_seed(0)
            twin, made = copied(net, optimizers)
            self.optimizers = made is not None
            local = twin.local
            local.optimizers = made or block_optimizers(local, torch.optim.SGD, lr=0.0)
            local.optimizers.network = None
            accumulate = max((each.accumulate for each in local.optimizers), default=1)
            self._all_gradients = accumulate > 1
            plan_all(twin)
            if windows is not None:
                local.plan(windows)
            twin.train()
            steps = []
            counter = Counter(local)
            for samples in (_SAMPLES, 2 * _SAMPLES):
                x = _samples(twin, example, samples, device)
                y = _targets(twin, samples, device)
                batch = twin.batch(x, y, twin.seed, twin.batches)
                step: Callable[[], object] = partial(twin.algorithm.learn, batch, local)
                if windows is not None and twin.schedule.cache:
                    with counter:
                        step = cached_step(local, twin.algorithm, batch)
                    self.cached = sum(counter.products.values()) // samples
                with torch.enable_grad(), counter:
                    step()
                steps.append((dict(counter.products), dict(counter.windows), counter.whole))
            local.end_batch()
            for each in local.optimizers:
                each.step()
            (products, held, whole), (_, other, other_whole) = steps
            self.learn = {name: number // _SAMPLES for name, number in products.items()}
            self._windows = {names: _line(of, other.get(names, of)) for names, of in held.items()}
            self._whole = _line(whole, other_whole)
            self._state = _states(local.learners, local.optimizers if self.optimizers else None)
            if twin.sources:
                try:
                    with counter:
                        twin.evidence(_samples(twin, example, _SAMPLES, device))
                    self.predict = {name: n // _SAMPLES for name, n in counter.products.items()}
                except FOREIGN as error:
                    self.failed["predict"] = reported(error)

    def held(self, name: str) -> int | None:
        """Return the bytes of the activities of one sample that a block holds, in float32."""
        if self.learn is None:
            return None
        return max((line.bytes(1, 4) for names, line in self._windows.items() if name in names), default=0)

    def memory(self, net: Network, weights: Mapping[str, int], outside: int, batch_size: int) -> Any:
        """Return the RAM; nothing if no step has run."""
        if self.learn is None:
            return ()
        learners = net.local.learners
        alone = [(name,) for name in learners if not any(name in names for names in self._windows)]
        parts = [
            Part(
                sum(weights[name] for name in names),
                sum(self._state.get(name, 0) for name in names),
                sum(p.numel() for name in names for p in learners[name].trainable),
                self._windows.get(names, Line(0, 0)),
            )
            for names in (*self._windows, *alone)
        ]
        return memory_of(parts, outside, self._whole, batch_size, all_gradients=self._all_gradients)


def refused(learners: Iterable[LocalBlock]) -> str | None:
    """Return why no step can run without a call of what works outside of ffcore; None if one can."""
    for block in learners:
        for part in block.modules():
            if isinstance(part, BoxStage) and part.shape is None:
                return f"the black box {part.name} of block {block.name} is not called here"
            if callable(getattr(part, "close", None)) and not isinstance(part, BlackBox):
                what = type(part).__name__
                return f"block {block.name} works outside of this process ({what}), which is not called here"
    return None


def _samples(net: Network, example: Any, samples: int, device: torch.device) -> Any:
    dtype = next((p.dtype for p in net.parameters() if p.is_floating_point()), torch.float32)

    def random(shape: Any) -> Any:
        if isinstance(shape, Mapping):
            return {name: random(each) for name, each in shape.items()}
        if any(not isinstance(side, int) for side in shape):
            return tuple(random(each) for each in shape)
        return torch.rand(samples, *shape)

    if example is not None:
        count = rows(example)
        x = mapped(example, lambda t: t[torch.arange(samples) % count])
    else:
        x = random(net.shape)
        takes = next(iter(net.local.blocks[0].calls.values()))
        if takes and not takes[0][1].is_floating_point and isinstance(x, Tensor):
            x = torch.zeros(x.shape, dtype=takes[0][1])
    return mapped(x, lambda t: t.to(device, dtype if t.is_floating_point() else t.dtype))


def _targets(net: Network, samples: int, device: torch.device) -> Tensor | None:
    task, count = net.task, net.classes
    if task.target == "none":
        return None
    if task.target == "values":
        return torch.rand(samples, count, device=device)
    if task.target == "labels":
        return (torch.rand(samples, count, device=device) < 0.5).float()
    classes = torch.arange(samples, device=device) % count
    if task.features is None:
        return classes
    info = net.blocks[-1].info
    shape = tuple(info.shape) if info is not None else ()
    positions = shape[:1] if task.features == -1 else tuple(net.shape)[-2:]
    return classes.view(-1, *(1 for _ in positions)).expand(-1, *positions).contiguous()


def _line(less: Held, more: Held) -> Line:
    """Return the line through what steps of n and 2n samples hold."""
    slopes = [(more.floats - less.floats) / _SAMPLES, (more.others - less.others) / _SAMPLES]
    fixed = [less.floats - _SAMPLES * slopes[0], less.others - _SAMPLES * slopes[1]]
    return Line(max(0.0, fixed[0]), slopes[0], max(0.0, fixed[1]), slopes[1])


def _states(learners: Mapping[str, LocalBlock], optimizers: BlockOptimizers | None) -> dict[str, int]:
    """Return the bytes of the states of optimisers, without counts of steps, and of learning rules."""
    made = {
        name: sum(t.numel() * t.element_size() for t in block.rule.buffers() if t.is_floating_point())
        for name, block in learners.items()
    }
    for name, each in optimizers.blocks.items() if optimizers is not None else ():
        states = [t for of in each.optimizer.state.values() for t in of.values() if isinstance(t, Tensor)]
        made[name] = made.get(name, 0) + sum(4 * t.numel() for t in states if t.dim())
    return made


def _stored(part: nn.Module) -> list[Tensor]:
    """Return parameters and floating-point buffers, without those of learning rules."""
    rules = [each.rule for each in part.modules() if isinstance(each, LocalBlock)]
    of_rules = {id(t) for rule in rules for t in rule.buffers()}
    buffers = [t for t in part.buffers() if t.is_floating_point() and id(t) not in of_rules]
    return [*part.parameters(), *buffers]


def _weights(stored: Iterable[Tensor]) -> int:
    return sum(t.numel() for t in stored)


def _of(counts: Mapping[str, int] | None, name: str) -> int | None:
    return None if counts is None else counts.get(name, 0)
