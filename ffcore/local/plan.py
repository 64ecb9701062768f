"""Which blocks learn, and which of them share a graph: the windows of a schedule, block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import nn

from ffcore.errors import UserError
from ffcore.interfaces import LearningRule
from ffcore.local.block import LocalBlock
from ffcore.local.closed_form import ClosedFormGradient
from ffcore.local.rules import Gradient


class Place(NamedTuple):
    """A learning block's place in its window.

    Attributes:
        window: number of the window.
        first: whether the block opens the window: its inputs are detached.
        last: whether it closes the window: the window learns when it has run.
        rule: how the window learns.
    """

    window: int
    first: bool
    last: bool
    rule: LearningRule


Plan = Mapping[nn.Module, Place]


def planned(
    windows: Sequence[range], blocks: Sequence[LocalBlock], in_circuits: set[nn.Module]
) -> dict[nn.Module, Place]:
    """Places of all blocks that learn; see `ffcore.interfaces.Schedule`.

    Windows count the blocks that have parameters which learn. Blocks without any, such as pooling, belong
    to the window of the one before them, as far as it takes to reach a loss; frozen ones do so only where
    there is none before them.

    Args:
        windows: ranges of indices of learning blocks.
        blocks: all blocks, in order.
        in_circuits: parts of circuits.

    Raises:
        UserError: when a window has no loss to learn from, when windows overlap, when a block's handoff
            has parameters that nothing would train, or when blocks of a circuit share a window.
    """
    learning = [i for i, block in enumerate(blocks) if block.trainable]
    starts = [*learning, len(blocks)]
    plan: dict[nn.Module, Place] = {}
    for number, window in enumerate(windows):
        if not window or len(starts) == 1:  # only readouts learn
            continue
        covered = blocks[starts[window.start] : starts[window.stop]]
        last = _end(covered, starts[window.stop - 1] - starts[window.start])
        if last is None:
            names = ", ".join(block.name for block in covered)
            raise UserError(f"nothing to learn from: no objective and no rule in the window of {names}")
        members = covered[: last + 1]
        if len(members) > 1 and not in_circuits.isdisjoint(members):
            names = ", ".join(block.name for block in members)
            raise UserError(f"blocks of a circuit learn one by one, but {names} share a window")
        rule = members[-1].rule
        if len(members) == 1:
            rule = ClosedFormGradient.serving(members[0]) or rule
        for block in members:
            if block in plan:
                raise UserError(f"the schedule puts block {block.name} into two windows at once")
            plan[block] = Place(number, block is members[0], block is members[-1], rule)
        _refuse_idle_handoff(members[-1])
    return plan


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
