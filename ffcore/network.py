"""A network together with its learning algorithm, for training loops of your own.

N samples; K classes; L sources of evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ffcore.errors import UserError, at_path, expect
from ffcore.interfaces import (
    ALONE,
    Algorithm,
    Batch,
    Block,
    Component,
    Context,
    LayerContribution,
    Progress,
    Ranks,
    Readout,
    Schedule,
    Task,
    Views,
)
from ffcore.interfaces.batch_rng import mix
from ffcore.interfaces.modes import evaluating
from ffcore.interfaces.structure import rows, shapes, tensors
from ffcore.interfaces.task import targets_of
from ffcore.local import BlockOptimizers, LocalBlock, LocalNetwork
from ffcore.local.given import finite, formats_named, refuse_samples
from ffcore.local.optimizers import refuse_others
from ffcore.local.passes import Record
from ffcore.local.returned import wrong_measured, wrong_scores
from ffcore.local.stages import (
    Stage,
    first_epoch,
    local_network,
    refuse_misfits,
    refuse_needs,
    refuse_no_evidence,
    refuse_sums,
    sources_of,
    task_of,
    warn_of_what_stays_outside,
)
from ffcore.parts import part

FITTING = 0x666974
"""Mixed into the seed, so that black boxes are fitted with other random numbers than blocks learn with."""


class Network(nn.Module):
    """Local blocks and a forward-only algorithm: ``learn(x, y, optimizers)`` and ``predict(x)``.

    It is an `nn.Module` with a ``state_dict``. Its optimisers are torch's, and you write the training loop.

    >>> import torch, ffcore
    >>> from torch import nn
    >>> from ffcore_ff.algorithm import ForwardForward
    >>> from ffcore_ff.labels import Overlay
    >>> from ffcore_ff.negatives import WrongLabel
    >>> x, y = torch.rand(32, 20), torch.arange(32) % 3
    >>> net = ffcore.Network(
    ...     [ffcore.LocalBlock(nn.Linear(20, 50), "sum-squares", objective="logistic")],
    ...     algorithm=ForwardForward(Overlay(), WrongLabel()), example=x[:2], classes=3)
    >>> optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=1e-3)
    >>> list(net.learn(x, y, optimizers)), net.predict(x).shape
    (['block1'], torch.Size([32]))

    Args:
        body: a module that calls local blocks, or a list of stages: local blocks, other modules, and
            functions, which become black boxes. Or a `LocalNetwork` whose algorithm has been set up.
        algorithm: makes the views of a batch and turns evidence into class scores. This and the parts below
            may be given by kind, such as "forward-forward", or as a mapping with a kind.
        example: (N, *shape) a few samples with the dtype and device of the training data; for models with
            several inputs a tuple or mapping of tensors.
        classes: number of classes K, for the classification of samples.
        task: what the targets are, in place of ``classes``; see `ffcore.tasks`.
        readouts: classifiers on the handoffs of blocks, under names that you choose.
        contribution: combines the evidence of several sources into one score per class; None: that of the
            task, "sum" for the classification of samples.
        schedule: chooses which blocks learn in each step; None: the algorithm's default.
        superclass_of: (K,) super-class of each class, or None.
        shape: shape of one sample, for a `LocalNetwork`; None: the shape of its input.
        heads: names of blocks that learn like readouts, from a pass without labels in the input.
        seed: seed of all random numbers used during learning; it does not affect the initial weights.

    Attributes:
        local: the blocks and readouts, and passes through them.
        batches: number of batches learned by `learn`; part of the ``state_dict``.
        floats: whether it was built for floats only, and refuses integers; None if not known.
        records: functions that `learn` calls with a block, the terms of its loss and the number of samples.
        autocast: dtype of mixed precision, such as ``torch.bfloat16``; None for full precision.

    Raises:
        UserError: when the parts do not fit together, or the example does not fit them.
    """

    def __init__(
        self,
        body: nn.Module | Sequence[Stage],
        algorithm: Algorithm | str | Mapping[str, Any],
        example: Any = None,
        classes: int | None = None,
        *,
        task: Task | str | Mapping[str, Any] | None = None,
        readouts: Mapping[str, Readout | str | Mapping[str, Any]] | None = None,
        contribution: LayerContribution | str | Mapping[str, Any] | None = None,
        schedule: Schedule | str | Mapping[str, Any] | None = None,
        superclass_of: Tensor | None = None,
        shape: Sequence[int] | None = None,
        heads: Collection[str] = (),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.floats: bool | None = None
        expect("seed", seed, int, "an integer")
        expect("readouts", readouts or {}, Mapping, "a mapping from names to readouts")
        self.algorithm: Algorithm = part("algorithm", algorithm)
        if isinstance(body, LocalNetwork):
            self.local, self.shape = body, body.shape if shape is None else tuple(shape)
        else:
            made = {name: part("readout", r, f"readouts.{name}") for name, r in (readouts or {}).items()}
            target = task_of(task, classes)
            self.local = local_network(body, self.algorithm, example, target, made, superclass_of, heads)
            self.shape = shapes(example)
            self.floats = all(t.is_floating_point() for t in tensors(example))
        self.schedule: Schedule = part("schedule", schedule or self.algorithm.schedule)
        self.task: Task = self.local.task
        self.contribution: LayerContribution = part("contribution", contribution or self.task.contribution)
        self.seed, self.batches = seed, 0
        self.records: list[Record] = []
        self._losses: dict[str, list[Tensor]] = {}
        self.recorder = self._record  # one object: setting a module's attribute is slow
        self.autocast: torch.dtype | None = None
        self.windows: tuple[range, ...] | None = None  # that learn now
        self._counted: tuple[int, BlockOptimizers | None] = (-1, None)  # see `advance`
        self._learning = 0
        refuse_misfits(self.algorithm, self.contribution, self.local)
        with at_path("algorithm"):
            self.algorithm.connect(self.local)
        if not isinstance(body, LocalNetwork):
            warn_of_what_stays_outside(self.local)
        self.sources = sources_of(self.algorithm, self.local)
        names = [source.name for source in self.sources]
        if twice := {name for name in names if names.count(name) > 1}:
            raise UserError(f"readouts: the name {min(twice)!r} is taken by another source of evidence")
        context = Context(
            tuple(self.shape if isinstance(body, LocalNetwork) else next(tensors(example)).shape[1:]),
            self.classes,
            task=self.task,
            blocks=len(self.blocks),
            superclass_of=self.local.superclass_of,
            readouts=self.local.readouts,
            sources=self.sources,
        )
        if self.sources or self.task.target != "none":
            with at_path("contribution"):
                self.contribution.setup(context)
                refuse_needs(self.contribution)
                refuse_sums(self.contribution, self.task, len(self.sources))
        with at_path("schedule"):
            self.schedule.setup(context)
        self._advancing = self._advanced_parts()

    @property
    def classes(self) -> int:
        """Number of columns K of scores: classes, labels or values."""
        return self.local.classes

    @property
    def blocks(self) -> Sequence[LocalBlock]:
        """The local blocks in the order of their first call."""
        return self.local.blocks

    @property
    def optimizers(self) -> BlockOptimizers | None:
        """The optimisers that `learn` was given last, or None."""
        return self.local.optimizers

    def forward(self, x: Any) -> Tensor:
        """Return combined scores, (N, *shape) → (N, *P, K); see `scores`."""
        return self.scores(x)

    # -- learning -----------------------------------------------------------------------------------------

    def learn(
        self,
        x: Any,
        y: Tensor | None,
        optimizers: BlockOptimizers | None = None,
        *,
        progress: Progress | None = None,
    ) -> dict[str, Tensor]:
        """Run one forward-only step on a batch. Every block learns before the next one runs.

        The random numbers of a step depend only on (``seed``, ``batches``), except those of dropout. With a
        loaded ``state_dict`` they are the same as in an uninterrupted run.

        Args:
            x: (N, *shape) samples.
            y: the targets: (N,) int64 classes, or those of the task; None for a task without targets.
            optimizers: made by `ffcore.optimizers`; None: those of the previous call.
            progress: the progress of the run, for schedules and components that change with time; None: the
                first of one epoch.

        Returns:
            The loss of every block that learned, by name: a detached scalar, the sum of its terms. For a
            block that is called several times, the mean over the calls.

        Raises:
            UserError: when the optimisers are missing, or x and y do not fit the network.
            RunError: when a loss is non-finite. This batch has not changed the block's weights.
        """
        batch = self.batch(x, y, self.seed, self.batches)
        if progress is not None:
            expect("progress", progress, Progress, "an ffcore.interfaces.Progress")
        if optimizers is not None:
            if optimizers is not self.local.optimizers:
                refuse_others(optimizers, self.local)
                self.local.optimizers = optimizers
        elif self.local.optimizers is None:
            raise UserError(
                "learn: the network has no optimisers; make them with ffcore.optimizers(net, "
                "torch.optim.Adam, lr=1e-3) and pass them to net.learn(x, y, optimizers)"
            )
        self.advance(progress if progress is not None else first_epoch(self.schedule, self.batches))
        local, losses = self.local, self._losses
        if local.record is not self.recorder:
            local.record, local.finite = self.recorder, True
        losses.clear()
        with self.mixed(batch.index.device), formats_named(x, self):
            self.algorithm.learn(batch, local)
        local.end_batch()
        self.batches += 1
        return {name: of[0] if len(of) == 1 else torch.stack(of).mean() for name, of in losses.items()}

    def _record(self, block: Block, terms: Mapping[str, Tensor], samples: int) -> None:
        if terms:
            first, *others = terms.values()
            self._losses.setdefault(block.name, []).append(sum(others, first))
        for other in self.records:
            other(block, terms, samples)

    def advance(self, progress: Progress) -> bool:
        """Set the progress of the schedule and all components; return whether other blocks learn now."""
        # not in every step: that would go over all parameters
        counted = sum(block.frozen for block in self.local.blocks), self.local.optimizers
        if counted != self._counted:
            self._counted, self._learning, self.windows = counted, len(self.local.learning), None
        windows = self.schedule.windows(progress, self._learning)
        # only lists can be compared: `plan` refuses anything else
        changed = not isinstance(windows, list | tuple) or windows != self.windows
        if changed:
            with at_path("schedule"):
                self.local.plan(windows)
            self.windows = windows
        for component, block in self._advancing:
            if block is None or self.local.learns(block):
                if block is not None:
                    self.local.settle()  # passes that wait for a box need the component as it is
                component.advance(progress)
        return changed

    def end_epoch(self, ranks: Ranks = ALONE, owns: Callable[[str], bool] = lambda name: True) -> None:
        """Finish the epoch: step with an incomplete group of batches, and call every rule's ``finish``.

        Args:
            ranks: the ranks that share each batch.
            owns: returns whether the block or readout of a name learns on this rank.
        """
        self.local.settle()
        for optimizer in self.local.optimizers or ():
            optimizer.step()
        for name, block in self.local.learners.items():
            if owns(name):
                block.rule.finish(block, ranks)

    def fit_boxes(self, batches: Iterable[Any] | Callable[[], Iterable[Any]], epoch: int = 0) -> bool:
        """Fit the black boxes that are due, at the beginning of an epoch; return whether any was fitted.

        Args:
            batches: one pair (x, y), or several, such as a loader, or a function that returns them anew.
            epoch: number of epochs learned so far.
        """
        kept = list(batches) if isinstance(batches, Iterator) else batches  # they are read for each box
        kept = [kept] if isinstance(kept, tuple) and isinstance(kept[-1], Tensor | None) else kept

        def views() -> Iterator[Views]:
            for number, (x, y) in enumerate(kept() if callable(kept) else kept):
                yield self.algorithm.views(self.batch(x, y, mix(self.seed, FITTING), number), self.local)

        return self.local.fit_boxes(epoch, views)

    def batch(self, x: Any, y: Tensor | None, seed: int, number: int) -> Batch:
        """Return a batch with its random numbers.

        Args:
            x: (N, *shape) samples.
            y: the targets, as for `learn`.
            seed: seed of the random numbers.
            number: number of the batch; each one has other random numbers.

        Raises:
            UserError: when x and y do not fit each other or the network.
        """
        refuse_samples(x, self.shape, self.floats)
        n, device = rows(x), next(tensors(x)).device
        y = targets_of(self.task, y, next(tensors(x)))
        # On a GPU a check of values waits for the device: only in the first step.
        self.task.refuse(y, n, values=device.type == "cpu" or not number)
        batch = Batch(x, self.task.standardised(y), torch.arange(n, device=y.device), 0, n)
        batch.seed(seed, number)
        return batch

    # -- measuring ----------------------------------------------------------------------------------------

    def evidence(self, x: Any) -> Tensor:
        """Return the evidence of every source in evaluation mode, (N, *shape) → (L, N, *P, K)."""
        refuse_samples(x, self.shape, self.floats)
        self.local.settle()
        with torch.no_grad(), evaluating(self), self.mixed(next(tensors(x)).device), formats_named(x, self):
            return self.measure(x)

    def mixed(self, device: torch.device) -> AbstractContextManager[Any]:
        """Return the context of the network's mixed precision."""
        if self.autocast is None:
            return nullcontext()
        # Blocks step within the pass, so autocast must not cache casts of their weights.
        return torch.autocast(device.type, self.autocast, cache_enabled=False)

    def scores(self, x: Any) -> Tensor:
        """Return the combined evidence, (N, *shape) → (N, *P, K).

        P are the positions in a task by position. Of classes, the largest score is the prediction.
        """
        refuse_no_evidence(self.sources)
        with torch.no_grad():
            return self.combine(self.evidence(x))

    def measure(self, x: Any) -> Tensor:
        """Return the evidence (L, N, *P, K) in the current mode, with the current state of autograd."""
        if not self.sources:
            return torch.zeros(0, rows(x), self.classes)
        evidence = self.algorithm.scores(x, self.local)
        shape = (len(self.sources), rows(x), self.classes)
        of = evidence.shape if isinstance(evidence, Tensor) else ()
        fits = of == shape if self.task.features is None else (*of[:2], *of[-1:]) == shape
        if not fits:
            raise wrong_measured(self.algorithm, evidence, shape)
        return evidence

    def combine(self, evidence: Tensor) -> Tensor:
        """Return the scores of a contribution, (L, N, *P, K) → (N, *P, K)."""
        if not len(evidence):
            return evidence.sum(0)
        shape = evidence.shape[1:]
        if evidence.dim() > 3:  # every position is a row
            evidence = evidence.flatten(1, -2)
        scores = self.contribution.combine(evidence)
        if not isinstance(scores, Tensor) or scores.shape != evidence.shape[1:]:
            raise wrong_scores(scores, tuple(evidence.shape[1:]))
        return scores.reshape(shape) if len(shape) > 2 else scores

    def predict(self, x: Any) -> Tensor:
        """Return the predictions: classes (N, *P) or labels (N, K), int64, or values (N, K). Refuses NaN."""
        return self.task.predict(finite(self.scores(x)))

    def predict_proba(self, x: Any) -> Tensor:
        """Return probabilities (N, *P, K), not calibrated: of classes the softmax of the scores.

        Raises:
            UserError: when the task has none, as real numbers.
        """
        return self.task.probabilities(self.scores(x))

    # -- state --------------------------------------------------------------------------------------------

    def get_extra_state(self) -> Tensor:
        """Return the number of batches, on which the random numbers depend."""
        return torch.tensor(self.batches)

    def set_extra_state(self, state: Tensor | Mapping[str, int]) -> None:
        """See `get_extra_state`; states that were saved earlier are mappings."""
        self.batches = int(state["batches"] if isinstance(state, Mapping) else state)

    def _advanced_parts(self) -> list[tuple[Component, LocalBlock | None]]:
        """Return the components with an ``advance``, each with its block; only blocks that learn advance."""
        home = {part: block for block in self.local.learners.values() for part in block.modules()}
        return [
            (part, home.get(part))
            for part in dict.fromkeys([*self.modules(), *home])  # localize keeps blocks outside the modules
            if isinstance(part, Component) and type(part).advance is not Component.advance
        ]
