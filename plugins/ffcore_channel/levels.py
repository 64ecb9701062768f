"""Super-classes by block: early blocks learn super-classes, late blocks the classes.

K classes; M levels, the classes themselves being the last; L blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ffcore.interfaces import Context

Hierarchy = list[list[int]] | Literal["data"]
Pace = Literal["even", "each-block"]


def super_classes(hierarchy: Hierarchy | None, pace: Pace, context: Context) -> Tensor | None:
    """Return the super-class of each class, for one block.

    Args:
        hierarchy: levels from coarse to fine, each K super-class numbers; "data": the one level of the data
            set or of the recipe's ``data.groups``. The classes follow as the finest level.
        pace: see `level_at`.
        context: the context of the block.

    Returns:
        (K,) numbers from 0; None if the block learns the classes themselves.

    Raises:
        ValueError: when the levels do not fit the classes or each other, or the data has none.
    """
    if hierarchy is None:
        return None
    if hierarchy != "data":
        levels: Sequence[Sequence[int]] = hierarchy
    elif context.superclass_of is not None:
        levels = [context.superclass_of.tolist()]
    else:
        raise ValueError("hierarchy: the data has no super-classes; give it some as data.groups")
    check(levels, context.classes)
    # A level with one class per super-class is the level of the classes.
    coarse = [level for level in levels if max(level) + 1 < context.classes]
    level = level_at(context.rank, context.ranks, len(coarse) + 1, pace)
    return torch.tensor(coarse[level - 1]) if level <= len(coarse) else None


def level_at(depth: int, blocks: int, levels: int, pace: Pace = "even") -> int:
    """Return the level, from 1 (coarsest) to M, of block i = ``depth`` of L = ``blocks`` with a goodness.

    "even": ⌈i M/(L − 1)⌉, at least 1 (HCL-FF, Yao et al. 2026, arXiv:2605.24797. The paper counts the set of
    all classes as a level too: D = M + 1, L = 17). "each-block": min(i + 1, M). A single block has level M.

    >>> [level_at(i, 17, 2) for i in (0, 8, 9, 16)], [level_at(i, 17, 3, "each-block") for i in (0, 1, 5)]
    ([1, 1, 2, 2], [1, 2, 3])
    """
    if blocks == 1:
        return levels
    if pace == "each-block":
        return min(depth + 1, levels)
    # −(−a // b) rounds up in integers.
    return max(1, -(-depth * levels // (blocks - 1)))


def check(levels: Sequence[Sequence[int]], classes: int) -> None:
    """Raise if levels are not valid super-classes of ``classes`` classes.

    Raises:
        ValueError: when a level has the wrong length, gaps in its numbers or fewer than two super-classes, or
            is coarser than the level before it.
    """
    before = 0
    for number, level in enumerate(levels, 1):
        if len(level) != classes:
            raise ValueError(f"hierarchy: level {number} has {len(level)} numbers for {classes} classes")
        groups = len(set(level))
        if set(level) != set(range(groups)):
            raise ValueError(
                f"hierarchy: level {number} has the numbers {_listed(level)} for {groups} super-classes; "
                f"they should be 0 to {groups - 1} without gaps"
            )
        if groups < 2:
            raise ValueError(f"hierarchy: level {number} has one super-class; it should have at least two")
        if groups < before:
            raise ValueError(
                f"hierarchy: level {number} has {groups} super-classes, the one before {before}; levels go "
                "from coarse to fine"
            )
        before = groups


def _listed(level: Sequence[int], most: int = 8) -> str:
    numbers = sorted(set(level))
    return ", ".join(map(str, numbers[:most])) + (", …" if len(numbers) > most else "")
