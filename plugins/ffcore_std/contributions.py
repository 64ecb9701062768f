"""Layer contributions without parameters.

L sources; N samples; K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ffcore.interfaces import Context, LayerContribution, Source


class _Selected(LayerContribution):
    """The plain sum over some of the sources."""

    chosen: list[int]

    def combine(self, scores: Tensor) -> Tensor:
        """(L, N, K) → (N, K)."""
        return scores[self.chosen].sum(0)


def _blocks(sources: Sequence[Source]) -> list[int]:
    """Places of the blocks; of all sources where no block says anything of the class."""
    blocks = [i for i, source in enumerate(sources) if source.role == "block"]
    places = blocks or list(range(len(sources)))
    if not places:
        raise ValueError("nothing gives evidence: give the blocks a goodness, or add a readout")
    return places


class Sum(_Selected):
    """Σ over all blocks."""

    def setup(self, context: Context) -> None:
        """Choose all blocks."""
        self.chosen = _blocks(context.sources)


class SkipFirst(_Selected):
    """Σ over all blocks but the first, whose goodness sees the label itself (Hinton 2022, section 3.3).

    A network of one block uses that block.
    """

    def setup(self, context: Context) -> None:
        """Choose all blocks but the first."""
        blocks = _blocks(context.sources)
        self.chosen = blocks[1:] or blocks


class Last(_Selected):
    """The last block alone."""

    def setup(self, context: Context) -> None:
        """Choose the last block."""
        self.chosen = _blocks(context.sources)[-1:]


class FromReadout(_Selected):
    """One readout alone.

    Args:
        name: the readout's name in the recipe; may be left out where there is only one.
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        self.name = name

    def setup(self, context: Context) -> None:
        """Choose the readout.

        Raises:
            ValueError: when it is not there, or several are and none was named.
        """
        readouts = {source.name: i for i, source in enumerate(context.sources) if source.role == "readout"}
        if self.name is None and len(readouts) == 1:
            self.chosen = list(readouts.values())
        elif self.name in readouts:
            self.chosen = [readouts[self.name]]
        else:
            known = ", ".join(readouts) or "none; add one under `readouts`"
            raise ValueError(f"there is no readout {self.name or ''!r}; the recipe's readouts: {known}")
