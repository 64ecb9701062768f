"""The LightningModule: feeds batches to an algorithm, keeps time, measures."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor, nn

from ffcore.engine.cache import Cache, Loader
from ffcore.engine.half_done import HalfDone
from ffcore.engine.meter import Meter
from ffcore.engine.metrics import Accuracy, Measures
from ffcore.engine.optimizers import BlockOptimizers
from ffcore.engine.spread import Spread
from ffcore.interfaces import (
    Algorithm,
    Augmentation,
    Batch,
    Clock,
    Component,
    Idle,
    LayerContribution,
    Schedule,
    Views,
    shared_by,
)
from ffcore.interfaces.draw import mix
from ffcore.local import LocalBlock, LocalNetwork, Stepper
from ffcore.trust import trusting

_MEASURING = 0x76616C  # keeps the random numbers of measuring apart from those of learning

_FITTING = 0x666974  # and those that boxes are fitted on

MakeOptimizer = Callable[[LocalBlock, Sequence[nn.Parameter]], torch.optim.Optimizer]


class ForwardOnly(L.LightningModule):
    """One algorithm on one network.

    Lightning sees a module that optimises by hand with a single optimiser, so that ``global_step`` is the
    number of batches. The blocks learn inside the algorithm's pass.

    Args:
        network: the network.
        algorithm: which views enter it.
        contribution: how evidence becomes scores; it has attended to the network's sources.
        schedule: which blocks learn when.
        make_optimizer: a new optimiser for a block and its parameters.
        augmentations: small changes to training samples, one after another.
        lr_factor: factor on all learning rates at a fractional epoch, of so many epochs.
        seed: keys all random draws.
        epochs: epochs of the whole run, for schedules.
        clip: largest gradient norm of a block, or None.
        clip_value: largest size of a single number of a gradient, or None.
        accumulate: batches per step.

    Attributes:
        spread: how the run lies on its ranks; whoever trains on several sets it before.
    """

    def __init__(
        self,
        network: LocalNetwork,
        algorithm: Algorithm,
        contribution: LayerContribution,
        schedule: Schedule,
        make_optimizer: MakeOptimizer,
        *,
        augmentations: Sequence[Augmentation] = (),
        lr_factor: Callable[[float, int], float] = lambda epoch, epochs: 1.0,
        seed: int = 0,
        epochs: int = 1,
        clip: float | None = None,
        clip_value: float | None = None,
        accumulate: int = 1,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.network = network
        self.algorithm = algorithm
        self.contribution = contribution
        self.schedule = schedule
        self.make_optimizer = make_optimizer
        self.augmentations = nn.ModuleList(augmentations)
        self.lr_factor = lr_factor
        self.seed = seed
        self.epochs = epochs
        self.clip, self.clip_value = clip, clip_value
        self.accumulate = accumulate
        self.spread = Spread()
        self.meter = Meter(network.learners)
        network.record = self.meter.record
        network.watchers.append(self.meter)
        self.sources = algorithm.sources(network)
        self.accuracy = Accuracy(len(self.sources), network.classes)
        self._measures = Measures()
        self._boxes = network.boxes
        self._learning = len(network.learning)  # walking all parameters is no work for every step
        self._windows: tuple[range, ...] | None = None
        self._cache: Cache | None = None
        self._advancing = self._clocked()
        self._rates: list[tuple[torch.optim.Optimizer, list[float]]] = []
        self._factor: float | None = None  # unknown: a checkpoint may have brought scaled rates
        self._seen: list[tuple[Tensor, Tensor]] = []  # evidence that waits for the end of a validation
        self._val_losses: dict[str, float] = {}
        self.val_figures: dict[str, Any] | None = None
        self._half_done: Sequence[HalfDone] = ()
        self._shared = False

    # -- learning ---------------------------------------------------------------------------------------

    def configure_optimizers(self) -> BlockOptimizers:
        """One optimiser for each block that can learn, behind one for Lightning."""
        optimizers = {}
        in_circuits = self.network.in_circuits
        for name, block in self.network.learners.items():
            if not block.trainable:
                continue
            optimizers[name] = self.make_optimizer(block, block.trainable)
            block.stepper = Stepper(
                *(block.trainable, optimizers[name], self.clip, self.accumulate, self.spread.learning),
                clip_value=self.clip_value,
                overlaps=block not in in_circuits,  # there blocks read each other's parameters
            )
        self._rates = [(o, [group["lr"] for group in o.param_groups]) for o in optimizers.values()]
        return BlockOptimizers(optimizers)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Let the algorithm learn from one batch."""
        clock = Clock(self.current_epoch, self.global_step, self.epochs)
        self._keep_time(clock, batch_idx)
        batch.deal(self.seed, clock.step)
        for augmentation in self.augmentations:
            batch.x = augmentation(batch.x, batch.draw)
        group = self.spread.learning
        _seed(mix(self.seed, clock.step, *((group.rank,) if group.rank else ())), batch.x.device)
        with shared_by(group if batch.counts else Idle(group)):
            if self._cache is not None:
                self.network.learn(self._cache.views(batch), entered=True)
            else:
                self.algorithm.learn(batch, self.network)
        if self.accumulate > 1 or group.world > 1:
            self.network.end_batch()
        self.meter.step()
        self.optimizers().step()  # type: ignore[union-attr]

    # Lightning asks for it each step, and Python would work it out anew.
    training_step.__signature__ = inspect.signature(training_step)  # type: ignore[attr-defined]

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """After an epoch's or the run's last batch, and before validation, finish what is half done."""
        if not (self.trainer.is_last_batch or self.trainer.should_stop):
            return
        for block in self.network.learners.values():
            if block.stepper is not None:
                block.stepper.step()  # what a group of accumulated batches has left over
            if self.spread.owns(block.name):
                block.rule.finish(block, self.spread.learning)
        self.meter.gather(self.spread.ranks)
        self.spread.settle(self)
        if "train.loss" in self.contribution.needs:
            figures = self.meter.read()
            losses = {name: of_block.get("loss", math.nan) for name, of_block in figures.items()}
            self.contribution.observe("train", self._by_source(losses), None, None)

    def on_train_epoch_start(self) -> None:
        """Begin the epoch's sums; callbacks and the module itself read them when it ends."""
        self.meter.reset(self.global_step)

    def _keep_time(self, clock: Clock, batch_idx: int) -> None:
        windows = self.schedule.windows(clock, self._learning)
        if windows != self._windows:
            self.network.plan(windows)
            self._windows = windows
            self._cache = None
        for component, block in self._advancing:
            if block is None or self.network.learns(block):
                component.advance(clock)
        if batch_idx == 0 and self._boxes and self._fit_boxes(clock.epoch):
            self._cache = None  # what finished stages make has changed
        if self._cache is None and self.schedule.cache and self.network.finished:
            loader = cast(Loader, self.trainer.train_dataloader)
            self._cache = Cache(self.network, self.algorithm, loader, self.seed)
        factor = self.lr_factor(clock.epoch + batch_idx / self.trainer.num_training_batches, self.epochs)
        if factor != self._factor:
            for optimizer, rates in self._rates:
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * factor
            self._factor = factor

    def _fit_boxes(self, epoch: int) -> bool:
        """On the first rank, from all of the training set; the others take over what came out."""
        group = self.spread.ranks
        fitted = group.rank == 0 and self.network.fit_boxes(epoch, self._passes)
        if group.world > 1:
            states = [box.state_dict() for box in self._boxes] if fitted else []
            fitted, states = group.objects((fitted, states))[0]
            if fitted and group.rank:
                with trusting():  # it is this run's own
                    for box, state in zip(self._boxes, states, strict=True):
                        box.load_state_dict(state)
        return fitted

    def _passes(self) -> Iterator[Views]:
        """What the blocks would learn from, one pass over the training set, for boxes that adapt to it."""
        loader = cast(Loader, self.trainer.train_dataloader)
        for number, batch in enumerate(loader.anew()):
            batch.deal(mix(self.seed, _FITTING), number)
            yield self.algorithm.views(batch, self.network)

    def _clocked(self) -> list[tuple[Component, LocalBlock | None]]:
        """What moves with time, and the block that it is part of: what does not learn stands still."""
        home = {part: block for block in self.network.learners.values() for part in block.modules()}
        return [
            (part, home.get(part))
            for part in self.modules()
            if isinstance(part, Component) and type(part).advance is not Component.advance
        ]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is half done: an epoch's sums, gradients of an open group; and the last validation."""
        steppers = {name: b.stepper for name, b in self.network.learners.items() if b.stepper is not None}
        mine = HalfDone(
            self.meter.state_dict(),
            {name: stepper.state_dict() for name, stepper in steppers.items()},
            self.spread.buffers(self),
        )
        checkpoint["half_done"] = {
            "ranks": self.spread.ranks.objects(mine.plain()),
            "shared": self.spread.learning.world > 1,
            "val": self.val_figures,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """See `on_save_checkpoint`; the steppers are not there yet."""
        found = checkpoint["half_done"]
        self.val_figures = found["val"]
        if "ranks" not in found:  # format 1: batches were not counted apart from updates
            steppers = {name: {**s, "batches": s["updates"]} for name, s in found["steppers"].items()}
            found = {"ranks": [{"meter": found["meter"], "steppers": steppers, "buffers": {}}]}
        self._half_done = [HalfDone(**each) for each in found["ranks"]]
        self._shared = found.get("shared", True)

    def on_train_start(self) -> None:
        """Take up what was half done; find out who listens to steps, since calling nobody costs 50 µs."""
        optimizers = cast(BlockOptimizers, self.optimizers(use_pl_optimizer=False))
        optimizers.heard = any(
            type(callback).on_before_optimizer_step is not L.Callback.on_before_optimizer_step
            for callback in cast(Any, self.trainer).callbacks
        )
        self.spread.begin(self.network, self._passes())
        if self._half_done:
            mine = self.spread.mine(self._half_done, self._shared)
            self.meter.load_state_dict(mine.meter, self.device)
            for name, state in mine.steppers.items():
                stepper = self.network.learners[name].stepper
                assert stepper is not None, "the optimisers' states have been compared by name before"
                stepper.load_state_dict(state)
            for name, value in mine.buffers.items():
                self.get_buffer(name).copy_(value)
            self._half_done = ()

    def on_train_end(self) -> None:
        """Let go of the other ranks."""
        self.spread.end()

    def __setattr__(self, name: str, value: Any) -> None:
        """As for any module, but for a name of Lightning's that changes some twenty times a step."""
        if name == "_current_fx_name":
            object.__setattr__(self, name, value)  # torch would look whether it is a parameter or a module
        else:
            super().__setattr__(name, value)

    # -- measuring --------------------------------------------------------------------------------------

    def scores(self, x: Tensor) -> Tensor:
        """(N, *shape) → (N, K): combined evidence; the largest is the prediction."""
        return self.contribution.combine(self.algorithm.scores(x, self.network))

    def deal(self, batch: Batch, number: int) -> None:
        """Give a batch that is measured its random numbers: always the same, so that epochs compare."""
        batch.deal(mix(self.seed, _MEASURING), number)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure one batch of the validation split."""
        self.deal(batch, batch_idx)
        if self.contribution.needs.isdisjoint(("val.loss", "val.scores")):
            self._measure(batch)
            return
        group = self.spread.ranks if batch.counts else Idle(self.spread.ranks)
        evidence = self._evidence(batch).transpose(0, 1)
        self._seen.append((group.rows(evidence).transpose(0, 1), group.rows(batch.y)))
        if "val.loss" in self.contribution.needs:
            with shared_by(group):
                losses = self.network.losses(self.algorithm.views(batch, self.network))
            for name, loss in losses.items() if batch.counts else ():
                self._val_losses[name] = self._val_losses.get(name, 0.0) + float(loss) * len(batch.x)

    def on_validation_epoch_end(self) -> None:
        """Let the contribution see the split, then report the accuracy that it makes of it."""
        if self._seen:
            scores = torch.cat([evidence for evidence, _ in self._seen], dim=1)
            y = torch.cat([classes for _, classes in self._seen])
            parts = self.spread.ranks.objects(self._val_losses)
            names = dict.fromkeys(name for part in parts for name in part)
            losses = {name: sum(part.get(name, 0.0) for part in parts) / len(y) for name in names}
            wanted = self.contribution.needs
            self.contribution.observe(
                "val",
                self._by_source(losses) if "val.loss" in wanted else None,
                *((scores, y) if "val.scores" in wanted else (None, None)),
            )
            if self.spread.ranks.rank == 0:  # they are all ranks'
                self._count(scores, y)
            self._seen, self._val_losses = [], {}
        self.val_figures = self._figures()
        self.log("val_accuracy", self.val_figures["accuracy"], logger=False)  # for callbacks that monitor it

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure one batch of the test split."""
        self.deal(batch, batch_idx)
        self._measure(batch)

    def on_test_epoch_end(self) -> None:
        """Keep the figures of the test split."""
        self.test_figures = self._figures()

    def _measure(self, batch: Batch) -> None:
        if batch.counts:
            self._count(self._evidence(batch), batch.y)

    def _evidence(self, batch: Batch) -> Tensor:
        """(L, N, K); the algorithm's own figures are added on the way."""
        evidence = self.algorithm.scores(batch.x, self.network)
        if batch.counts:
            self._measures.update(self.algorithm.measure(batch, self.network))
        return evidence

    def _count(self, evidence: Tensor, y: Tensor) -> None:
        self.accuracy.update(evidence, self.contribution.combine(evidence), y)

    def _figures(self) -> dict[str, Any]:
        """Those of a split that has been measured; the next one begins anew."""
        group = self.spread.ranks
        figures = {**self.accuracy.figures(group), "measures": self._measures.figures(group)}
        self.accuracy.reset()
        self._measures = Measures()
        return figures

    def _by_source(self, losses: Mapping[str, float]) -> Tensor:
        """In the order of the evidence; NaN for a source that has none, or did not learn."""
        of_source = [losses.get(source.name, math.nan) for source in self.sources]
        return torch.tensor(of_source, device=self.device)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Batches are made on the device; there is nothing to move."""
        return batch


def _seed(seed: int, device: torch.device) -> None:
    """Seed what bodies draw from by themselves: dropout, noise.

    `torch.manual_seed` also queues a call with a stack trace for each kind of device that is not in use: 0.7
    milliseconds a step, and a list that grows.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
