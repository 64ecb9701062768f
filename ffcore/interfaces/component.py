"""What every part of a recipe has in common, and what it is told."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Clock:
    """Where a run stands: ``epoch`` of ``epochs`` (from 0) and the number of batches learned, ``step``."""

    epoch: int
    step: int
    epochs: int


@dataclass(frozen=True, slots=True)
class BlockInfo:
    """What a block's components may know of their place; complete once the dry run has seen the network.

    Attributes:
        name: the block's name in the recipe, tables and checkpoints.
        depth: its place in the order of the first calls, from 0.
        blocks: how many blocks the network has.
        shape: shape of one sample's activity, without the row dimension.
        classes: number of classes K.
        unit_goodness: the block's goodness of an activity that is one everywhere: the number of units for a
            sum of squares, 1 for a mean, minus the units for a negative sum. 0 where the block has none.
        group_of: (K,) super-class of every class, where the data set or the recipe has them.
        column_of: (K,) column of the block's goodness by which each class is judged; None: its own.
        goodness: the block's goodness, for what learns from it (objectives, penalties).
        rank: its place among the blocks that have a goodness, from 0; that of the next one, if it has none.
        ranks: how many blocks have a goodness.
        auxiliary: whether it learns from a loss of its own, not from the recipe's: what it hands on is no
            feature.
        in_shape: shape of one sample of its input, of the first where it has several.
    """

    name: str
    depth: int
    blocks: int
    shape: tuple[int, ...]
    classes: int
    unit_goodness: float = 0.0
    group_of: Tensor | None = None
    column_of: Tensor | None = None
    goodness: nn.Module | None = None
    rank: int = 0
    ranks: int = 1
    auxiliary: bool = False
    in_shape: tuple[int, ...] = ()


class Component(nn.Module):
    """A part that a recipe names: a plain class with typed, documented constructor arguments.

    Parameters of what a block computes its loss from (body, goodness, objective, penalties) learn with the
    block, those of a readout with the readout. Others have nobody to train them and are refused.
    """

    def bind(self, info: BlockInfo) -> None:
        """Learn one's place. Parameters and buffers that depend on shapes are made here."""

    def advance(self, clock: Clock) -> None:
        """Move temperatures and warm-ups on; called before every batch, results go into buffers."""

    def figures(self) -> dict[str, Tensor]:
        """What a report may want to draw of it, by name; kept in a run's ``figures.npz``."""
        return {}
