"""The plan: the windows of a schedule, resolved to a place for every block that learns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from torch import nn

from ffcore.errors import UserError
from ffcore.interfaces import Circuit, LearningRule, Objective
from ffcore.local.block import LocalBlock
from ffcore.local.closed_form import ClosedFormGradient
from ffcore.local.returned import wrong_windows
from ffcore.local.rules import Gradient


class Place(NamedTuple):
    """A learning block's place in its window.

    Attributes:
        window: index of the window.
        first: whether the block is the first of the window; its inputs are then detached.
        last: whether the block is the last of the window, which learns after it has run.
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
    """Return the places of all blocks that learn; see `ffcore.interfaces.Schedule`.

    The indices of windows count only blocks with trainable parameters. A block without any, such as pooling,
    is added to the window before it, as far as needed to reach a loss. A frozen block, also one whose
    parameters were all frozen in torch, is added only if the window has no loss without it.

    Args:
        windows: ranges of indices of learning blocks.
        blocks: all blocks, in order.
        in_circuits: all modules inside circuits.

    Raises:
        UserError: when a window has no loss, or a rule that learns in windows of one block; windows overlap;
            the parameters of a handoff would not be trained; blocks of a circuit share a window; or a block
            that is called again leaves its window open.
    """
    if not isinstance(windows, list | tuple) or not all(isinstance(window, range) for window in windows):
        raise wrong_windows(windows)
    learning = [i for i, block in enumerate(blocks) if block.trainable]
    starts = [*learning, len(blocks)]
    plan: dict[nn.Module, Place] = {}
    for number, window in enumerate(windows):
        if not window or len(starts) == 1:  # only readouts learn
            continue
        if window.step != 1 or window.start < 0 or window.stop > len(learning):
            raise UserError(
                f"schedule: windows returned {window}; a window is within range(0, {len(learning)})"
            )
        if any(window.start < before.start for before in windows[:number] if before):
            raise UserError(f"schedule: windows returned {windows}; its ranges should ascend")
        covered = blocks[starts[window.start] : starts[window.stop]]
        last = _end(covered, starts[window.stop - 1] - starts[window.start])
        if last is None:
            names = ", ".join(block.name for block in covered)
            raise UserError(f"nothing to learn from: the window of {names} has no objective and no rule")
        sharing = covered[: last + 1]
        if len(sharing) > 1 and not in_circuits.isdisjoint(sharing):
            names = ", ".join(block.name for block in sharing)
            raise UserError(f"blocks of a circuit learn one by one, but {names} share a window")
        rule = sharing[-1].rule
        if rule.alone and len(sharing) > 1:
            where = f"block {sharing[-1].name}: rule {type(rule).__name__}"
            raise UserError(f"{where}: learns in windows of one block, not of {len(sharing)}")
        if len(sharing) == 1:
            # the same gradients without autograd's graph, if the parts have closed forms
            rule = ClosedFormGradient.serving(sharing[0]) or rule
        for block in sharing:
            if block in plan:
                raise UserError(f"schedule: windows returned {windows}; block {block.name} is in two of them")
            plan[block] = Place(number, block is sharing[0], block is sharing[-1], rule)
        _refuse_idle_handoff(sharing[-1])
    _refuse_open(plan, blocks)
    return plan


def _refuse_open(plan: Plan, blocks: Sequence[LocalBlock]) -> None:
    """Raise if a block runs, or the pass ends, while another window has not learned yet.

    This happens where blocks are called several times in a pass.
    """
    if all(place.first and place.last for place in plan.values()):
        return
    calls = [(index, block) for block in blocks if block in plan for index in block.calls]
    begun: LocalBlock | None = None  # the block that ran last, if its window has not learned yet
    for _, block in sorted(calls, key=itemgetter(0)):
        if begun is not None and plan[begun].window != plan[block].window:
            raise _open(begun, f"block {block.name} runs")
        begun = None if plan[block].last else block
    if begun is not None:
        raise _open(begun, "the pass ends")


def _open(block: LocalBlock, when: str) -> UserError:
    return UserError(
        f"schedule: {when} before the window of block {block.name} has learned, since a block is called "
        "several times in a pass; use windows of one block, or windows that end after each of these calls"
    )


def _end(covered: Sequence[LocalBlock], learns: int) -> int | None:
    """Return the index of the block whose loss ends a window; None if no block has a loss.

    A rule other than `Gradient` counts as a loss. ``learns`` is the index of the last block that learns.
    """
    losses = [i for i, b in enumerate(covered) if b.loss is not None or type(b.rule) is not Gradient]
    beyond = [i for i in losses if i >= learns]
    frozen = next((i for i, b in enumerate(covered) if i > learns and _frozen(b)), len(covered))
    near = [i for i in beyond if i < frozen]
    return next(iter(near[-1:] or beyond[:1] or losses[-1:]), None)


def _frozen(block: LocalBlock) -> bool:
    return block.frozen or (not block.trainable and next(block.parameters(), None) is not None)


def _refuse_idle_handoff(block: LocalBlock) -> None:
    idle = [name for name, p in block.handoff.named_parameters() if p.requires_grad]
    if idle and not (block.loss is not None and block.loss.reads_handoff):
        raise UserError(
            f"block {block.name}: its handoff has parameters that would not be trained ({', '.join(idle)}), "
            "since no gradient comes back from later blocks; use a handoff without parameters"
        )


def refuse_upstream(circuits: Iterable[Circuit]) -> None:
    """Raise if a block reads the goodness of others, in a circuit whose blocks do not see it.

    Raises:
        UserError: with the names of the block and its objective.
    """
    for circuit in (each for each in circuits if each.divisible):
        for block in (each for each in circuit.modules() if isinstance(each, LocalBlock)):
            for part in block.modules():
                if isinstance(part, Objective) and part.reads_upstream:
                    raise UserError(
                        f"network: block {block.name}: {type(part).__name__} reads the goodness of other "
                        f"blocks, which those of {type(circuit).__name__} do not see; use another objective"
                    )
