"""Layer contributions without parameters.

    score_nk = Σ_{l ∈ S} evidence_lnk       S: the chosen sources; `sum` adds w · evidence of readouts

L sources; N samples; K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ffcore.interfaces import Context, LayerContribution, Source
from ffcore.options import NonNegative


class _Selected(LayerContribution):
    """Sum over chosen sources."""

    chosen: list[int]

    def combine(self, scores: Tensor) -> Tensor:
        """(L, N, K) → (N, K)."""
        return scores[self.chosen].sum(0)


def _blocks(sources: Sequence[Source]) -> list[int]:
    """Return the indices of the blocks; those of all sources if no block gives evidence."""
    blocks = [i for i, source in enumerate(sources) if source.role == "block"]
    chosen = blocks or list(range(len(sources)))
    if not chosen:
        raise ValueError("no source gives evidence: give the blocks a goodness, or add a readout")
    return chosen


def blocks_with_evidence(context: Context) -> list[int]:
    """Return the indices of the blocks among the sources of evidence, without the readouts.

    Raises:
        ValueError: when no block has a goodness.
    """
    blocks = [i for i, source in enumerate(context.sources) if source.role == "block"]
    if not blocks:
        raise ValueError("no block gives evidence: give the blocks a goodness, or use contribution: readout")
    return blocks


class Sum(_Selected):
    """Sum of the evidence of all blocks, and that of the readouts with a weight.

    Evidence of different kinds has different units: the goodness of a block may be in the hundreds, where the
    logits of a readout differ by ten. Choose the weight on validation data.

    Args:
        readouts: weight of the evidence of every readout; 0 leaves them out.
    """

    examples = ({"readouts": 2.0},)

    def __init__(self, readouts: NonNegative = 0.0) -> None:
        super().__init__()
        self.readouts = readouts

    def setup(self, context: Context) -> None:
        """Choose all blocks, and the readouts if they count.

        Raises:
            ValueError: when readouts count and there is none.
        """
        self.chosen = _blocks(context.sources)
        self._weighed = [i for i, source in enumerate(context.sources) if source.role == "readout"]
        if self.readouts and not self._weighed:
            raise ValueError("readouts have a weight, but the network has none; add one under `readouts`")

    def combine(self, scores: Tensor) -> Tensor:
        """(L, N, K) → (N, K)."""
        made = super().combine(scores)
        return made + self.readouts * scores[self._weighed].sum(0) if self.readouts else made


class Mean(_Selected):
    """Mean of the evidence of all blocks; for real numbers, the mean of their predictions."""

    def setup(self, context: Context) -> None:
        """Choose all blocks."""
        self.chosen = _blocks(context.sources)

    def combine(self, scores: Tensor) -> Tensor:
        """(L, N, K) → (N, K)."""
        return scores[self.chosen].mean(0)


class SkipFirst(_Selected):
    """Sum over all blocks except the first (Hinton 2022, section 3.3).

    The first block reads the label in the input directly. A network of one block uses that block.
    """

    def setup(self, context: Context) -> None:
        """Choose all blocks except the first."""
        blocks = _blocks(context.sources)
        self.chosen = blocks[1:] or blocks


class Last(_Selected):
    """Evidence of the last block."""

    def setup(self, context: Context) -> None:
        """Choose the last block."""
        self.chosen = _blocks(context.sources)[-1:]


class FromReadout(_Selected):
    """Evidence of one readout.

    Args:
        name: the readout's name in the recipe; may be left out if there is only one.
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        self.name = name

    def setup(self, context: Context) -> None:
        """Choose the readout.

        Raises:
            ValueError: when the readout does not exist, or there are several and ``name`` is None.
        """
        readouts = {source.name: i for i, source in enumerate(context.sources) if source.role == "readout"}
        if self.name is None and len(readouts) == 1:
            self.chosen = list(readouts.values())
        elif self.name in readouts:
            self.chosen = [readouts[self.name]]
        else:
            known = ", ".join(readouts) or "none; add one under `readouts`"
            raise ValueError(f"there is no readout {self.name or ''!r}; the recipe's readouts: {known}")
