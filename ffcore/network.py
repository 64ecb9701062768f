"""A network with the algorithm that teaches it, for training loops of your own.

N samples; K classes; L sources of evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ffcore.errors import RunError, UserError, at_path
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
    Views,
)
from ffcore.interfaces.batch_rng import mix
from ffcore.interfaces.structure import rows, shapes, tensors
from ffcore.local import BlockOptimizers, LocalBlock, LocalNetwork
from ffcore.local.modes import evaluating
from ffcore.local.optimizers import refuse_others
from ffcore.local.passes import Record
from ffcore.local.stages import Stage, local_network, warn_of_what_stays_outside
from ffcore.parts import part

FITTING = 0x666974
"""Keeps the random numbers that boxes are fitted on apart from those of learning."""


class Network(nn.Module):
    """Local blocks and a forward-only algorithm: ``learn(x, y, optimizers)`` and ``predict(x)``.

    Plain torch: it is a module with a ``state_dict``, its optimisers are torch's, and the loop is yours.

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
            functions, which become black boxes. Or a `LocalNetwork` of which the algorithm knows already.
        algorithm: which views of a batch enter the network, and how evidence becomes class scores. This and
            the parts below may be given by kind, such as "forward-forward", or as a mapping with a kind.
        example: (N, *shape) a few samples as they will be learned, of their type and on their device; for
            models of several inputs a tuple or mapping of tensors.
        classes: number of classes K.
        readouts: classifiers that listen to blocks, by a name of your own.
        contribution: how the evidence of several sources becomes one score a class.
        schedule: which blocks learn when; None: as the algorithm has it.
        superclass_of: (K,) super-class of each class, if there are any.
        shape: shape of one sample, for a `LocalNetwork`; that of its input if None.
        heads: names of blocks that learn as readouts do, from a pass without labels in the input.
        seed: of all random numbers that the algorithm draws while it learns. Weights are yours to seed.

    Attributes:
        local: the blocks and readouts, and passes through them.
        batches: how many batches have been learned by `learn`; part of the ``state_dict``.
        records: functions that `learn` calls with a block, the terms of its loss and the number of samples.
        autocast: number format of mixed precision, such as ``torch.bfloat16``; None for none.

    Raises:
        UserError: when parts do not fit together, or the example.
    """

    def __init__(
        self,
        body: nn.Module | Sequence[Stage],
        algorithm: Algorithm | str | Mapping[str, Any],
        example: Any = None,
        classes: int | None = None,
        *,
        readouts: Mapping[str, Readout | str | Mapping[str, Any]] | None = None,
        contribution: LayerContribution | str | Mapping[str, Any] = "sum",
        schedule: Schedule | str | Mapping[str, Any] | None = None,
        superclass_of: Tensor | None = None,
        shape: Sequence[int] | None = None,
        heads: Collection[str] = (),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.algorithm: Algorithm = part("algorithm", algorithm)
        if isinstance(body, LocalNetwork):
            self.local = body
            self.shape = tuple(shape) if shape is not None else body.shape
        else:
            made = {
                name: part("readout", each, f"readouts.{name}") for name, each in (readouts or {}).items()
            }
            self.local = local_network(body, self.algorithm, example, classes, made, superclass_of, heads)
            self.shape = shapes(example)
        self.schedule: Schedule = part("schedule", schedule or self.algorithm.schedule)
        self.contribution: LayerContribution = part("contribution", contribution)
        self.seed = seed
        self.batches = 0
        self.records: list[Record] = []
        self._losses: dict[str, list[Tensor]] = {}
        self.recorder = self._record  # one object: setting a module's attribute is slow
        self.autocast: torch.dtype | None = None
        self._windows: tuple[range, ...] | None = None
        self._frozen = sum(block.frozen for block in self.local.blocks)
        self._learning = len(self.local.learning)  # walking all parameters is no work for every step
        _refuse_misfits(self.algorithm, self.contribution, self.local)
        with at_path("algorithm"):
            self.algorithm.connect(self.local)
        if not isinstance(body, nn.Module):
            warn_of_what_stays_outside(self.local)
        self.sources = self.algorithm.sources(self.local)
        names = [source.name for source in self.sources]
        if twice := {name for name in names if names.count(name) > 1}:
            raise UserError(f"readouts: the name {min(twice)!r} is taken by another source of evidence")
        first = self.shape if isinstance(body, LocalNetwork) else next(tensors(example)).shape[1:]
        context = Context(
            tuple(first),
            self.classes,
            blocks=len(self.blocks),
            superclass_of=self.local.superclass_of,
            readouts=self.local.readouts,
            sources=self.sources,
        )
        with at_path("contribution"):
            self.contribution.setup(context)
        with at_path("schedule"):
            self.schedule.setup(context)
        self._advancing = self._advanced_parts()

    @property
    def classes(self) -> int:
        """Number of classes K."""
        return self.local.classes

    @property
    def blocks(self) -> Sequence[LocalBlock]:
        """The local blocks in the order of their first call."""
        return self.local.blocks

    @property
    def optimizers(self) -> BlockOptimizers | None:
        """Those that the blocks learn with, once they have been given to `learn`."""
        return self.local.optimizers

    def forward(self, x: Any) -> Tensor:
        """(N, *shape) → (N, K): combined scores; the largest is the prediction."""
        return self.scores(x)

    # -- learning -----------------------------------------------------------------------------------------

    def learn(
        self,
        x: Any,
        y: Tensor,
        optimizers: BlockOptimizers | None = None,
        *,
        progress: Progress | None = None,
    ) -> dict[str, Tensor]:
        """One forward-only step on a batch: every block learns before the next one runs.

        Random numbers derive from (``seed``, ``batches``), so that a loaded ``state_dict`` continues the run.

        Args:
            x: (N, *shape) samples.
            y: (N,) int64 classes.
            optimizers: made by `ffcore.optimizers`; None: those of the call before.
            progress: the moment of the run, for schedules and components that change with time; None: the
                first epoch of one.

        Returns:
            The loss of every block that learned, by name: the sum of its terms, a detached scalar, the mean
            over its calls.

        Raises:
            UserError: when there are no optimisers, or x and y do not fit the network.
            RunError: when a loss is not finite; the block's weights have not been changed by this batch.
        """
        batch = self.batch(x, y, self.seed, self.batches)
        if optimizers is not None:
            if optimizers is not self.local.optimizers:
                refuse_others(optimizers, self.local)
                self.local.optimizers = optimizers
        elif self.local.optimizers is None:
            raise UserError(
                "learn: the network has no optimisers; make some by ffcore.optimizers(net, torch.optim.Adam, "
                "lr=1e-3) and give them to net.learn(x, y, optimizers)"
            )
        self.advance(progress if progress is not None else Progress(0, self.batches, 1))
        local, losses = self.local, self._losses
        if local.record is not self.recorder:
            local.record, local.finite = self.recorder, True
        losses.clear()
        with self._autocast(y.device), self._formats_named(x):
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
        """Move the schedule and all components to a moment of the run; whether other blocks learn now."""
        frozen = sum(block.frozen for block in self.local.blocks)
        if frozen != self._frozen:
            self._frozen, self._learning, self._windows = frozen, len(self.local.learning), None
        windows = self.schedule.windows(progress, self._learning)
        changed = windows != self._windows
        if changed:
            with at_path("schedule"):
                self.local.plan(windows)
            self._windows = windows
        for component, block in self._advancing:
            if block is None or self.local.learns(block):
                component.advance(progress)
        return changed

    def end_epoch(self, ranks: Ranks = ALONE, owns: Callable[[str], bool] = lambda name: True) -> None:
        """Finish the epoch: step with the batches of an open group, let rules solve what they gathered.

        Args:
            ranks: those that share each batch.
            owns: whether the block or readout of a name learns on this rank.
        """
        for optimizer in self.local.optimizers or ():
            optimizer.step()
        for name, block in self.local.learners.items():
            if owns(name):
                block.rule.finish(block, ranks)

    def fit_boxes(self, batches: Callable[[], Iterable[tuple[Tensor, Tensor]]], epoch: int = 0) -> bool:
        """Let black boxes that adapt do so, at the beginning of an epoch; whether there were any.

        Args:
            batches: returns pairs (x, y), anew with each call.
            epoch: how many epochs have been learned.
        """

        def views() -> Iterator[Views]:
            for number, (x, y) in enumerate(batches()):
                yield self.algorithm.views(self.batch(x, y, mix(self.seed, FITTING), number), self.local)

        return self.local.fit_boxes(epoch, views)

    def batch(self, x: Any, y: Tensor, seed: int, number: int) -> Batch:
        """A batch with its random numbers.

        Args:
            x: (N, *shape) samples.
            y: (N,) int64 classes.
            seed: of its random numbers.
            number: of the batch.

        Raises:
            UserError: when x and y do not fit each other or the network.
        """
        _refuse_samples(x, self.shape)
        n = rows(x)
        if not isinstance(y, Tensor) or y.dtype != torch.int64 or y.shape != (n,):
            said = f"{y.dtype} {tuple(y.shape)}" if isinstance(y, Tensor) else type(y).__name__
            raise UserError(f"y: should be an int64 tensor ({n},) of classes, not {said}")
        if y.device.type == "cpu" and n and not 0 <= int(y.min()) <= int(y.max()) < self.classes:
            found = f"{int(y.min())} to {int(y.max())}"
            raise UserError(f"y: classes run from {found}; they should be 0 to {self.classes - 1}")
        batch = Batch(x, y, torch.arange(n, device=y.device), 0, n)
        batch.seed(seed, number)
        return batch

    # -- measuring ----------------------------------------------------------------------------------------

    def evidence(self, x: Any) -> Tensor:
        """(N, *shape) → (L, N, K): what every source says of every class, in evaluation mode."""
        _refuse_samples(x, self.shape)
        first = next(tensors(x))
        with torch.no_grad(), evaluating(self), self._autocast(first.device), self._formats_named(x):
            return self.algorithm.scores(x, self.local)

    @contextmanager
    def _formats_named(self, x: Any) -> Iterator[None]:
        """Say so where torch fails because samples and weights are of different number formats."""
        try:
            yield
        except RuntimeError as error:
            given = {t.dtype for t in tensors(x) if t.is_floating_point()}
            wanted = {p.dtype for p in self.local.parameters()}
            if isinstance(error, RunError) or given <= wanted or not wanted:
                raise
            raise UserError(
                f"x: samples are {', '.join(map(str, given))}, weights {', '.join(map(str, wanted))}; "
                "convert one of them: x.float(), or net.double()"
            ) from error

    def _autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        if self.autocast is None:
            return nullcontext()
        # blocks step within the pass: casts of their weights must not be kept
        return torch.autocast(device.type, self.autocast, cache_enabled=False)

    def scores(self, x: Any) -> Tensor:
        """(N, *shape) → (N, K): combined evidence; the largest is the prediction."""
        with torch.no_grad():
            return self.contribution.combine(self.evidence(x))

    def predict(self, x: Any) -> Tensor:
        """(N, *shape) → (N,) int64 classes."""
        return self.scores(x).argmax(1)

    def predict_proba(self, x: Any) -> Tensor:
        """(N, *shape) → (N, K): softmax of the scores. They are not calibrated."""
        return self.scores(x).softmax(1)

    # -- state --------------------------------------------------------------------------------------------

    def get_extra_state(self) -> dict[str, int]:
        """The number of batches, which random numbers derive from."""
        return {"batches": self.batches}

    def set_extra_state(self, state: Mapping[str, int]) -> None:
        """See `get_extra_state`."""
        self.batches = state["batches"]

    def _advanced_parts(self) -> list[tuple[Component, LocalBlock | None]]:
        """What moves with time, and the block that it is part of: what does not learn stands still."""
        home = {part: block for block in self.local.learners.values() for part in block.modules()}
        return [
            (part, home.get(part))
            for part in dict.fromkeys([*self.modules(), *home])  # localized blocks are not in the tree
            if isinstance(part, Component) and type(part).advance is not Component.advance
        ]


def _refuse_misfits(algorithm: Algorithm, contribution: LayerContribution, local: LocalNetwork) -> None:
    for path, component in (("algorithm", algorithm), ("contribution", contribution)):
        if any(p.requires_grad for p in component.parameters()):
            raise UserError(f"{path}: it has parameters, but only those inside a block or a readout learn")
    for block in local.blocks:
        if block.goodness is not None and block.goodness.form not in algorithm.accepts:
            readable = " or ".join(map(repr, sorted(algorithm.accepts)))
            raise UserError(
                f"block.goodness: block {block.name} gives goodness of form {block.goodness.form!r}, "
                f"algorithm {type(algorithm).__name__} reads form {readable}"
            )
    if not algorithm.hypotheses and any(circuit.needs_hypotheses for circuit in local.circuits):
        raise UserError(
            f"algorithm: {type(algorithm).__name__} claims no class, but a circuit is clamped to one"
        )


def _refuse_samples(x: Any, shape: Any) -> None:
    try:
        counts = {len(t) for t in tensors(x)}
    except TypeError as error:
        raise UserError(f"x: {error}") from error
    if len(counts) != 1 or shapes(x) != shape or not min(counts):
        count = min(counts, default=0)
        raise UserError(f"x: {count} samples of shape {shapes(x)}; the network was built for {shape}")
