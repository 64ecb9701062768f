"""Predictions that stop early: the evidence of blocks that have run, combined, and samples that leave.

Formulas and letters are those of `ffcore.local.exits`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ffcore.blame import title
from ffcore.errors import FOREIGN, UserError
from ffcore.interfaces import Algorithm, Context, LayerContribution
from ffcore.local.exits import Measured, margin
from ffcore.local.network import LocalNetwork
from ffcore.local.stepwise import Exit, Stepwise, exits_of, multiplications

__all__ = ["Early", "Prefixes"]


class Prefixes:
    """Combines the evidence that is known after each exit.

    After the last exit, s_E is that of the contribution. Before it, with evidence of the first b blocks:

        s_e = contribution set up for a network of these b blocks     e_1 … e_b
        s_e = contribution of all sources, with 0 for blocks to come  if it learns weights (``needs``)

    So the contribution "last" reads the last block that has run, and "skip-first" leaves out the first block
    when another one has run.

    Args:
        contribution: the contribution of the network, set up; it does not change.
        context: its context, with all sources: the blocks, then the readouts.
        exits: made by `ffcore.local.stepwise.exits_of`.

    Raises:
        UserError: the contribution reads the evidence of a readout, which is known only after all blocks.

    Example:
        With "skip-first" and three blocks, ``Prefixes(…)(1, evidence[:2])`` is ``evidence[1]``, (N, K).
    """

    def __init__(self, contribution: LayerContribution, context: Context, exits: Sequence[Exit]) -> None:
        self._whole, self._total = contribution, len(context.sources)
        self._exits = tuple(exits)
        self._parts: list[LayerContribution | None] = []
        _refuse_readouts(contribution, self._total, exits[-1].sources, context.classes)
        for exit_ in self._exits[:-1]:
            part: LayerContribution | None = None
            if not contribution.needs:
                part = copy.deepcopy(contribution)
                try:
                    part.setup(replace(context, sources=context.sources[: exit_.sources], readouts=()))
                except FOREIGN:  # it needs a source that is not there yet: no sample leaves here
                    part = None
            self._parts.append(part)

    def __call__(self, exit_: int, evidence: Tensor) -> Tensor:
        """Return the scores after an exit, (b, N, K) → (N, K).

        Args:
            exit_: index of the exit.
            evidence: of the b blocks that are known by then.
        """
        if exit_ < len(self._parts) and (part := self._parts[exit_]) is not None:
            return part.combine(evidence)
        missing = self._total - len(evidence)
        if missing:
            evidence = torch.cat([evidence, evidence.new_zeros(missing, *evidence.shape[1:])])
        return self._whole.combine(evidence)


def _refuse_readouts(contribution: LayerContribution, total: int, blocks: int, classes: int) -> None:
    """Raise if scores depend on the evidence of readouts, found by a trial with two values of them."""
    if blocks == total:
        return
    chance = torch.Generator().manual_seed(0)
    evidence = torch.rand(total, 2, classes, generator=chance)
    other = evidence.clone()
    other[blocks:] = torch.rand(total - blocks, 2, classes, generator=chance)
    if not torch.equal(contribution.combine(evidence), contribution.combine(other)):
        raise UserError(
            f"exits: the contribution {title(contribution)} reads a readout, which is known only after all "
            "blocks; a run has exits if its contribution reads blocks alone, as last, mean, and sum with "
            "readouts: 0 do"
        )


class Early:
    """A network whose predictions may stop after each exit. It should be in evaluation mode.

    Args:
        algorithm: the algorithm of the network.
        local: the network.
        contribution: the contribution of the network, set up.
        shape: shape of one sample of the data set.

    Attributes:
        exits: the exits, E of them.
        blocks: B_e, number of blocks that have run after each exit.

    Raises:
        UserError: evidence is not known block by block; the message has the reason.

    Example:
        >>> import ffcore, torch
        >>> net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10).eval()
        >>> early = Early(net.algorithm, net.local, net.contribution, net.shape)
        >>> scores, exit_ = early.predict(torch.rand(4, 1, 8, 8), limits=(0.0, 0.0))
        >>> scores.shape, exit_.tolist()
        (torch.Size([4, 10]), [0, 0, 0, 0])
    """

    def __init__(
        self, algorithm: Algorithm, local: LocalNetwork, contribution: LayerContribution, shape: Any
    ) -> None:
        if isinstance(shape, Mapping) or not all(isinstance(side, int) for side in shape):
            raise UserError("exits: are for samples of one tensor, not for several inputs")
        if local.task.target != "class" or local.task.features is not None or local.classes < 2:
            raise UserError(f"exits: are for one of several classes a sample, not for the task {local.task}")
        self._algorithm, self._local = algorithm, local
        self.exits: tuple[Exit, ...] = exits_of(algorithm, local)
        self.blocks: tuple[int, ...] = tuple(each.blocks for each in self.exits)
        context = Context(
            tuple(shape),
            local.classes,
            task=local.task,
            blocks=len(local.blocks),
            superclass_of=local.superclass_of,
            readouts=local.readouts,
            sources=tuple(algorithm.sources(local)),
        )
        self._combined = Prefixes(contribution, context, self.exits)

    def multiplications(self, x: Tensor) -> tuple[int, ...]:
        """Return M_e of one sample, ascending; see `ffcore.local.stepwise.multiplications`.

        Args:
            x: (n, *shape) a few samples.
        """
        return multiplications(self._algorithm, self._local, self.exits, x)

    @torch.no_grad()
    def whole(self, x: Tensor) -> Tensor:
        """Return the scores s_E of all blocks, (N, *shape) → (N, K), in one go; readouts do not run."""
        evidence = torch.stack(list(self._algorithm.evidence(x, self._local)))
        return self._combined(
            len(self.exits) - 1, evidence.to(x.dtype) if x.is_floating_point() else evidence
        )

    @torch.no_grad()
    def measure(self, x: Tensor, y: Tensor) -> Measured:
        """Return margins and right predictions after every exit, for a batch from which no sample leaves.

        Args:
            x: (N, *shape) samples.
            y: (N,) classes.
        """
        walk, known = Stepwise(self._algorithm, self._local, self.exits, x), list[Tensor]()
        margins, right = [], []
        for index in range(len(self.exits)):
            known.append(walk.step())
            scores = self._combined(index, torch.cat(known))
            margins.append(margin(scores))
            right.append(scores.argmax(1) == y)
        return Measured(torch.stack(margins), torch.stack(right))

    @torch.no_grad()
    def predict(self, x: Tensor, limits: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Predict a batch. The blocks after the exit of a sample do not run for it.

        Args:
            x: (N, *shape) samples, one at least.
            limits: θ_e of all exits but the last; infinity: no sample leaves there.

        Returns:
            The scores s_e at the exit of each sample, (N, K), and the index of its exit, (N,) int64.
        """
        walk, last = Stepwise(self._algorithm, self._local, self.exits, x), len(self.exits) - 1
        known = walk.step()
        made = self._combined(0, known)
        scores, out = made.clone(), torch.zeros(len(made), dtype=torch.int64, device=made.device)
        left = torch.arange(len(made), device=made.device)
        for index in range(1, last + 1):
            stay = ~(margin(made) >= limits[index - 1])
            if not bool(stay.any()):
                break
            if not bool(stay.all()):
                left, known = left[stay], known[:, stay]
                walk.keep(stay)
            known = torch.cat([known, walk.step()])
            made = self._combined(index, known)
            scores[left], out[left] = made, index
        return scores, out
