"""The LightningModule: trains a network batch by batch, sets the progress, and measures accuracy.

N samples; K classes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self, cast

import lightning as L
import torch
from torch import Tensor, nn

from ffcore.blame import explain
from ffcore.engine.batches import as_batch
from ffcore.engine.cache import Cache, ReadoutCache, filled, refuse_unordered, refuse_unused
from ffcore.engine.distribution import Distribution
from ffcore.engine.judge import judge
from ffcore.engine.measuring import Measuring, by_source
from ffcore.engine.meter import Meter
from ffcore.engine.partial_epoch import KEY, PartialEpoch, read
from ffcore.engine.seeding import seed_bodies
from ffcore.errors import RunError, UserError, expect, typed
from ffcore.interfaces import Augmentation, Batch, Component, Idle, Progress, Views, shared_by
from ffcore.interfaces.batch_rng import mix
from ffcore.local import BlockOptimizers, block_optimizers
from ffcore.local.given import finite, formats_named
from ffcore.local.optimizers import Make, refuse_others
from ffcore.network import FITTING, Network
from ffcore.private import HOOK_NAME
from ffcore.trust import trusting

_MEASURING = 0x76616C  # mixed into the seed, so that measuring and learning have different random numbers


class ForwardOnly(L.LightningModule):
    """A network for Lightning's trainer. It works with any loader, data module, callback and logger.

    Batches are pairs (x, y), mappings with the keys "x" and "y", or `ffcore.interfaces.Batch`. The module
    uses Lightning's manual optimisation. The blocks learn inside the algorithm's pass. Lightning sees one
    container of optimisers, so ``global_step`` is the number of batches. Random numbers depend on (seed,
    global_step).

    Metrics for callbacks and loggers, once per epoch: ``val_accuracy``, or the measures of another task such
    as ``val_r2``; ``train_loss`` (the mean over blocks) and ``<block>/loss``.

    Args:
        net: the network.
        optimizers: a torch optimiser class, a function of parameters, a mapping from block names to these
            ("*" for all others), or the result of `ffcore.optimizers`.
        augmentations: augmentations of training samples, applied in order.
        lr_factor: function of the fractional epoch and the number of epochs; multiplies all learning rates.
        epochs: number of epochs of the whole run, for schedules; None: the trainer's ``max_epochs``.
        clip: maximum gradient norm of a block, or None.
        clip_value: maximum absolute value of an element of a gradient, or None; or a mapping by block.
        accumulate: number of batches per step.
        options: for an optimiser class: ``lr=1e-3`` and so on.

    Attributes:
        net: the network. Its parts are registered as sub-modules here, under the names in checkpoints.
        distribution: the distribution over ranks; set it before training on several.
        logs: whether metrics are sent to the trainer's loggers.
        restored: whether training has begun: all states of a checkpoint have been loaded.
    """

    net: Network

    def __init__(
        self,
        net: Network,
        optimizers: Make | Mapping[str, Make] | BlockOptimizers,
        *,
        augmentations: Sequence[Augmentation] = (),
        lr_factor: Callable[[float, int], float] = lambda epoch, epochs: 1.0,
        epochs: int | None = None,
        clip: float | None = None,
        clip_value: float | Mapping[str, float] | None = None,
        accumulate: int = 1,
        **options: Any,
    ) -> None:
        super().__init__()
        if not isinstance(net, Network):
            raise UserError(f"net: should be an ffcore.Network, not a {type(net).__name__}")
        heads = net.local.readouts[len(net.local.readout_blocks) :]
        if net.schedule.cache and (heads or augmentations or net.local.circuits):
            raise UserError(
                "schedule.cache: does not work with heads, augmentations or circuits; set it to false"
            )
        refuse_unused(net)
        right = "a torch optimiser class, a function of parameters, a mapping, or ffcore.optimizers(…)"
        given = isinstance(optimizers, BlockOptimizers)
        if not callable(optimizers):
            expect("optimizers", optimizers, (BlockOptimizers, Mapping), right)
        if given and (options or clip or clip_value or accumulate != 1):
            raise UserError("optimizers: these exist already; pass their options to ffcore.optimizers")
        self.automatic_optimization = False
        # Not registered as a sub-module; its parts are: the keys of checkpoints then have no prefix "net."
        object.__setattr__(self, "net", net)
        self.network, self.algorithm = net.local, net.algorithm
        self.contribution, self.schedule = net.contribution, net.schedule
        self.make_optimizers = optimizers
        self.augmentations = nn.ModuleList(augmentations)
        self.lr_factor = lr_factor
        self.seed = net.seed
        self.epochs = epochs
        self.clip, self.clip_value = clip, clip_value
        self.accumulate = accumulate
        self.options = options
        self.distribution = Distribution()
        self.logs = True
        self.meter = Meter(net.local.learners)
        self._attach()
        self.sources = net.sources
        self.measuring = Measuring(net)
        self._boxes = net.local.boxes
        self.cached: Cache | ReadoutCache | None = None
        self._advancing = [a for a in augmentations if type(a).advance is not Component.advance]
        self._rates: list[tuple[torch.optim.Optimizer, list[float]]] = []
        self._factor: float | None = None  # unknown, since a loaded checkpoint has rates that are scaled
        self.val_metrics: dict[str, Any] | None = None
        self._partial_epoch: Sequence[PartialEpoch] = ()
        self._replicas = 1
        self.restored = False

    # -- learning ---------------------------------------------------------------------------------------

    def _attach(self) -> None:
        """Connect this module's meter to the network, in place of another module's."""
        local = self.network
        local.observers[:] = [each for each in local.observers if not isinstance(each, Meter)]
        local.observers.append(self.meter)
        local.record, local.finite = self.meter.record, False

    def configure_optimizers(self) -> BlockOptimizers:
        """Return the container of all block optimisers."""
        made = self.make_optimizers
        if not isinstance(made, BlockOptimizers):
            made = block_optimizers(
                self.network,
                made,
                clip=self.clip,
                clip_value=self.clip_value,
                accumulate=self.accumulate,
                ranks=self.distribution.learning,
                **self.options,
            )
        else:
            refuse_others(made, self.network)
        self.network.optimizers = made
        # base learning rates: a fit that was interrupted has scaled the rates, and left them in the groups
        self._rates = [
            (b.optimizer, [g.setdefault("base_lr", g["lr"]) for g in b.optimizer.param_groups]) for b in made
        ]
        self._factor = None
        return made

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Learn from one batch."""
        try:
            self._learn(batch, batch_idx)
        except StopIteration as error:  # Lightning would take it for the end of the data
            raise RunError(explain(error) or f"{typed(error)} within a learning step") from error

    def _learn(self, batch: Any, batch_idx: int) -> None:
        batch = as_batch(batch, self.distribution.learning, self.net, batch_idx == 0)
        progress = Progress(self.current_epoch, self.global_step, self._epochs)
        self._keep_time(progress, batch_idx)
        batch.seed(self.seed, progress.step)
        for augmentation in self.augmentations:
            batch.x = augmentation(batch.x, batch.rng)
        group = self.distribution.learning
        seed_bodies(mix(self.seed, progress.step, *((group.rank,) if group.rank else ())), batch.index.device)
        with formats_named(batch.x, self.net), shared_by(group if batch.counts else Idle(group)):
            if isinstance(self.cached, Cache):
                self.network.learn(self.cached.views(batch), entered=True)
            elif self.cached is not None:
                views = self.algorithm.neutral(batch.x, batch.y)
                self.network.read(views, learn=True, tapped=self.cached.handoffs(batch))
            else:
                self.algorithm.learn(batch, self.network)
        if self.accumulate > 1 or group.world > 1:
            self.network.end_batch()
        self.meter.step()
        self.net.batches = progress.step + 1  # `Network.learn` can continue from here
        self.optimizers().step()  # type: ignore[union-attr]

    # Lightning reads the signature in every step; storing it saves Python's inspection of the function.
    training_step.__signature__ = inspect.signature(training_step)  # type: ignore[attr-defined]

    @property
    def _logging(self) -> bool | None:
        """Lightning's ``logger`` argument. None, its default, does not warn if there is no logger."""
        return None if self.logs else False

    @property
    def _epochs(self) -> int:
        if self.epochs is not None:
            return self.epochs
        return max(1, self.trainer.max_epochs or 1)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Finish the epoch after its last batch, before validation."""
        if not (self.trainer.is_last_batch or self.trainer.should_stop):
            return
        self.net.end_epoch(self.distribution.learning, self.distribution.owns)
        self.meter.gather(self.distribution.ranks)
        self.distribution.settle(self)
        losses = {name: of["loss"] for name, of in self.meter.read().items() if "loss" in of}
        if "train.loss" in self.net.contribution.needs:
            self.net.contribution.observe("train", by_source(self.net, losses, self.device), None, None)
        if losses:  # logged here, since callbacks read them before this module's on_train_epoch_end
            named = {f"{name}/loss": loss for name, loss in losses.items()}
            named["train_loss"] = sum(losses.values()) / len(losses)
            self.log_dict(named, on_step=False, on_epoch=True, batch_size=1, logger=self._logging)

    def on_train_epoch_start(self) -> None:
        """Reset the meter for the new epoch."""
        if self.network.refresh():  # a callback may have pruned layers at the end of the epoch before
            self.cached = None
        self.meter.reset(self.global_step)

    def on_train_epoch_end(self) -> None:
        """Raise `RunError` if a loss of the epoch is non-finite."""
        if self.logs and (diverged := self.meter.divergence(self.distribution.ranks)) is not None:
            raise RunError(
                f"block {diverged.block}: its loss is not finite since step {diverged.step}; the batches may "
                "hold non-finite values, or the learning rate may be too high"
            )

    def _keep_time(self, progress: Progress, batch_idx: int) -> None:
        if self.net.advance(progress):
            self.cached = None
        for augmentation in self._advancing:
            augmentation.advance(progress)
        if batch_idx == 0 and self._boxes and self._fit_boxes(progress.epoch):
            self.cached = None  # a fitted box changes the outputs of the finished stages
        if self.cached is None and self.net.schedule.cache:
            self.cached = filled(self.network, self.algorithm, self.trainer.train_dataloader, self.seed)
        factor = self.lr_factor(
            progress.epoch + batch_idx / self.trainer.num_training_batches, progress.epochs
        )
        if factor != self._factor:
            for optimizer, rates in self._rates:
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * factor
            self._factor = factor

    def _fit_boxes(self, epoch: int) -> bool:
        """Fit black boxes on rank 0, from the whole training set; the other ranks load the state."""
        group = self.distribution.ranks
        fitted = group.rank == 0 and self.network.fit_boxes(epoch, self._passes)
        if group.world > 1:
            states = [box.state_dict() for box in self._boxes] if fitted else []
            fitted, states = group.objects((fitted, states))[0]
            if fitted and group.rank:
                with trusting():  # the pickle comes from rank 0 of this run
                    for box, state in zip(self._boxes, states, strict=True):
                        box.load_state_dict(state)
        return fitted

    def _passes(self) -> Iterator[Views]:
        """Iterate over the views of the training set once, to fit black boxes."""
        loader: Any = self.trainer.train_dataloader
        for number, given in enumerate(loader.anew() if hasattr(loader, "anew") else loader):
            moved = self.trainer.strategy.batch_to_device(given)
            batch = as_batch(moved, self.distribution.learning, self.net)
            batch.seed(mix(self.seed, FITTING), number)
            yield self.algorithm.views(batch, self.network)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the last validation metrics and the partial epoch state of every rank."""
        optimizers = self.network.optimizers
        own = PartialEpoch(
            self.meter.state_dict(),
            {name: b.state_dict() for name, b in (optimizers.blocks if optimizers else {}).items()},
            self.distribution.buffers(self),
        )
        checkpoint[KEY] = {
            "ranks": self.distribution.ranks.collected(own.plain()),
            "replicas": self.distribution.learning.world,
            "val": self.val_metrics,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Load the state; `on_train_start` applies it, since the optimisers do not exist yet."""
        state = read(checkpoint)
        self.val_metrics = state["val"]
        self._partial_epoch = [PartialEpoch(**each) for each in state["ranks"]]
        self._replicas = state["replicas"]

    def on_train_start(self) -> None:
        """Restore the partial epoch state, check the loader, and begin the distribution."""
        optimizers = cast(BlockOptimizers, self.optimizers(use_pl_optimizer=False))
        # a step without Lightning's hooks saves 50 µs, so they are called only if a callback uses them
        optimizers.heard = any(
            type(callback).on_before_optimizer_step is not L.Callback.on_before_optimizer_step
            for callback in cast(Any, self.trainer).callbacks
        )
        if any(box.adapts for box in self._boxes) and getattr(
            self.trainer.train_dataloader, "persistent_workers", False
        ):
            raise UserError(
                "persistent_workers: black boxes that are fitted read the training set before the epoch, but "
                "such a loader has only one iterator; set persistent_workers=False"
            )
        refuse_unordered(self.net, self.trainer.train_dataloader)
        if self.meter not in self.network.observers or self.network.record == self.net.recorder:
            self._attach()  # `Network.learn` or another module has replaced the meter
        self.cached = None  # of other data
        self.distribution.begin(self.network, self._passes())
        if self._partial_epoch:
            own = self.distribution.mine(self._partial_epoch, self._replicas)
            self.meter.load_state_dict(own.meter, self.device)
            for name, state in own.optimizers.items():
                optimizers.blocks[name].load_state_dict(state)
            for name, value in own.buffers.items():
                self.get_buffer(name).copy_(value)
            self._partial_epoch = ()
        self.restored = True

    def on_train_end(self) -> None:
        """End the distribution, free the cache, and restore the base learning rates."""
        self.distribution.end()
        self.cached = None
        for optimizer, rates in self._rates:
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
                group.pop("base_lr", None)  # a later fit begins with what the user sets

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; a faster path for one that Lightning sets about twenty times per step."""
        if name == HOOK_NAME:
            object.__setattr__(self, name, value)  # nn.Module would check for parameters and sub-modules
        else:
            super().__setattr__(name, value)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Apply a function to all parameters and buffers, as ``to`` does; see `Distribution.applied`."""
        super()._apply(self.distribution.applied(fn), recurse)  # type: ignore[no-untyped-call]
        return self

    # -- measuring --------------------------------------------------------------------------------------

    def scores(self, x: Tensor) -> Tensor:
        """Return the combined evidence, (N, *shape) → (N, *P, K); see `Network.scores`."""
        return self.net.combine(self.net.measure(x))

    def seed_measuring(self, batch: Batch, number: int) -> None:
        """Set the batch RNG for measuring. It is the same in every epoch, so that epochs are comparable."""
        batch.seed(mix(self.seed, _MEASURING), number)

    def on_validation_epoch_start(self) -> None:
        """Measure from the first batch: a validation before may have ended with an error."""
        self.measuring.reset()

    def on_test_epoch_start(self) -> None:
        """See `on_validation_epoch_start`."""
        self.measuring.reset()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Measure one batch of the validation split."""
        self._measure(batch, batch_idx, self.net.contribution.needs)

    def on_validation_epoch_end(self) -> None:
        """Compute the metrics of the validation split and log them, such as ``val_accuracy``."""
        self.val_metrics = self.measuring.metrics(self.net, self.distribution.ranks)
        self._log_measures("val", self.val_metrics)
        judge(self, self._epochs)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        """Measure one batch of the test split."""
        self._measure(batch, batch_idx, frozenset())

    def _measure(self, batch: Any, batch_idx: int, needs: frozenset[str]) -> None:
        batch = as_batch(batch, self.distribution.measuring, self.net, batch_idx == 0)
        self.seed_measuring(batch, batch_idx)
        with formats_named(batch.x, self.net):
            self.measuring.add(self.net, batch, self.distribution.measuring, needs, self.distribution.counts)

    def on_test_epoch_end(self) -> None:
        """Compute the metrics of the test split and log them, such as ``test_accuracy``."""
        self.test_metrics = self.measuring.metrics(self.net, self.distribution.ranks)
        self._log_measures("test", self.test_metrics)

    def _log_measures(self, split: str, metrics: Mapping[str, Any]) -> None:
        for name in self.measuring.logged:
            self.log(f"{split}_{name}", metrics[name], logger=self._logging)

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the predictions of a batch or a tensor of samples, as `Network.predict`; NaN is refused."""
        x = batch if isinstance(batch, Tensor) else as_batch(batch, self.distribution.ranks, self.net).x
        return self.net.task.predict(finite(self.scores(x)))
