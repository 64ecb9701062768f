"""The argument of `Component.setup`: shapes, names, and statistics of the data.

K classes.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from ffcore.interfaces.circuit import MakeBlock
    from ffcore.interfaces.network import Source
    from ffcore.interfaces.task import Task


@dataclass(frozen=True, slots=True)
class Statistics:
    """Statistics of the training samples.

    Attributes:
        counts: (K,) number of samples of each class.
        low: smallest value of an input, as the loader returns it.
        high: largest value of an input, as the loader returns it.
        mean: the mean that the loader subtracts from values in [0, 1], one number per channel or one for all;
            0 if it does not standardise.
        std: the standard deviation that the loader then divides by, likewise; 1 if it does not standardise.
    """

    counts: tuple[int, ...]
    low: float
    high: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Context:
    """The argument of `Component.setup`.

    Each field begins with the components that get it; for others it has its default. The parts of a block are
    its body, handoff, rule and goodness, then its loss with objective and penalties. Label codes and
    negatives get the context of their algorithm.

    Attributes:
        shape: shape of one sample, without the dimension of rows. Algorithms, label codes, negatives,
            augmentations, contributions, schedules: of the data set. Black boxes, circuits: of their input.
            Parts of a block: of the block's activity. Readouts: (K,).
        classes: all components: number of columns K of class goodness: classes, labels or values.
        task: all components: what the targets are.
        name: parts of a block: the block's name in the recipe, tables and checkpoints. Readouts, black boxes,
            circuits: their own name.
        depth: parts of a block: index of the block in the order of the first calls. Readouts: the number of
            blocks.
        blocks: parts of a block, readouts, contributions, schedules: number of blocks of the network,
            including those that never learn.
        superclass_of: all components: (K,) super-class of each class, if the data set or the recipe has them.
        in_shape: parts of a block: shape of one sample of the block's first input.
        handoff_shape: parts of a block: shape of one sample of the block's handoff.
        rank: parts of a block: index of the block among the blocks with a goodness. A block without one has
            the index of the next block with one.
        ranks: parts of a block: number of blocks with a goodness.
        auxiliary: parts of a block: whether the block only serves others, as its loss states. The default
            choice of readouts leaves it out.
        goodness: losses, objectives, penalties: the block's goodness, set up.
        unit_goodness: losses, objectives, penalties: the block's goodness of an activity of ones: the number
            of units for a sum of squares, 1 for a mean, minus the number of units for a negative sum; 0 for a
            block without a goodness.
        column_of: losses, objectives, penalties: (K,) index of the goodness column of each class; None: class
            k has column k.
        readouts: algorithms, contributions, schedules: names of the readouts.
        statistics: algorithms, augmentations: statistics of the training samples; None if the data have not
            been read, as for ``ffcore show --build``, predictors and training loops of your own.
            Augmentations are set up only if it is known.
        features: readouts: the contexts of all blocks, in order. A block's `handoff_shape` is the shape that
            a readout would read from it.
        sources: contributions, schedules: the sources of evidence, in the order of the scores.
        block: circuits: function that makes a block of the circuit.
    """

    shape: tuple[int, ...]
    classes: int
    _: KW_ONLY
    name: str = ""
    depth: int = 0
    blocks: int = 1
    task: Task | None = None
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

    def refuse_one_class(self, component: str, what: str) -> None:
        """Raise if there is one class only, for a component of a block that compares classes.

        Args:
            component: its noun and kind, for the message.
            what: what it computes.

        Raises:
            ValueError: there is one class.
        """
        if self.classes < 2:
            raise ValueError(
                f"{component}: block {self.name}: all samples are of one class; {what} needs two classes or "
                "more"
            )
