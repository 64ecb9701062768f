"""What a component is given when it is set up: its place, and what is known of the data.

K classes.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from ffcore.interfaces.circuit import MakeBlock
    from ffcore.interfaces.network import Source


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the training samples are.

    Attributes:
        counts: (K,) number of samples of each class.
        low: least value of an input as a loader makes it.
        high: largest value of an input as a loader makes it.
        mean: what the loader subtracts from values in [0, 1], one number a channel or one for all; 0 where it
            does not standardise.
        std: what the loader divides by then, likewise; 1 where it does not standardise.
    """

    counts: tuple[int, ...]
    low: float
    high: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Context:
    """The argument of `Component.setup`.

    Each field says which components get it; for others it has its default. The parts of a block are its body,
    handoff, rule and goodness, then its loss with objective and penalties. Label codes and negatives get the
    context of their algorithm.

    Attributes:
        shape: of one sample, without the dimension of rows. Algorithms, label codes, negatives,
            augmentations, contributions, schedules: of the data set. Black boxes, circuits: of their input.
            Parts of a block: of the block's activity. Readouts: (K,).
        classes: all components: number of classes K.
        name: parts of a block: the block's name in the recipe, tables and checkpoints. Readouts, black boxes,
            circuits: their own name.
        depth: parts of a block: the block's place in the order of the first calls, from 0. Readouts: the
            number of blocks.
        blocks: parts of a block, readouts, contributions, schedules: number of blocks of the network, also of
            those that never learn.
        superclass_of: all components: (K,) super-class of each class, if the data set or the recipe has them.
        in_shape: parts of a block: shape of one sample of the block's input, of the first where it has
            several.
        handoff_shape: parts of a block: shape of one sample of what the block hands on.
        rank: parts of a block: its place among the blocks that have a goodness, from 0; that of the next one,
            if it has none.
        ranks: parts of a block: number of blocks that have a goodness.
        auxiliary: parts of a block: whether the block learns from a loss of its own, not from the recipe's:
            what it hands on is no feature.
        goodness: losses, objectives, penalties: the block's goodness, set up.
        unit_goodness: losses, objectives, penalties: the block's goodness of an activity that is one
            everywhere: the number of units for a sum of squares, 1 for a mean, minus the units for a negative
            sum; 0 where the block has none.
        column_of: losses, objectives, penalties: (K,) column of the block's goodness by which each class is
            judged; None: its own.
        readouts: algorithms, contributions, schedules: names of the readouts.
        statistics: algorithms, augmentations: what the training samples are; None where the data have not
            been read, as for ``ffcore show --build``, predictors and loops of your own. Augmentations are set
            up only where it is known.
        features: readouts: the contexts of all blocks, in order. A block's `handoff_shape` is the shape of
            what a readout would read of it.
        sources: contributions, schedules: the sources of evidence, in the order of the scores.
        block: circuits: makes one of the circuit's blocks.
    """

    shape: tuple[int, ...]
    classes: int
    _: KW_ONLY
    name: str = ""
    depth: int = 0
    blocks: int = 1
    superclass_of: Tensor | None = None
    in_shape: tuple[int, ...] = ()
    handoff_shape: tuple[int, ...] = ()
    rank: int = 0
    ranks: int = 1
    auxiliary: bool = False
    goodness: nn.Module | None = None
    unit_goodness: float = 0.0
    column_of: Tensor | None = None
    readouts: tuple[str, ...] = ()
    statistics: Statistics | None = None
    features: tuple[Context, ...] = ()
    sources: tuple[Source, ...] = ()
    block: MakeBlock | None = None
