"""Forward-Forward without labels.

N samples; K classes.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ffcore.interfaces import Algorithm, Batch, Context, NegativeData, Network, Source, Views
from ffcore.interfaces.goodness import Form
from ffcore.interfaces.task import Target
from ffcore.options import ByName
from ffcore.parts import part
from ffcore_ff.labels import Normalise, normalised


class Unsupervised(Algorithm):
    """Forward-Forward without labels: a readout learns the classes (Hinton 2022).

    arXiv:2212.13345, section 3.2. Blocks learn to separate samples from negative samples, without labels.
    Only readouts use the targets, and no gradient of them reaches the blocks. The evidence of a class is the
    logit of each readout. In a task without targets the evidence of a block is its goodness, (N, 1).

    Args:
        negatives: makes the negative samples.
        normalise: "rms" divides each input by its root mean square, "l2" by its length; "none" does neither.
    """

    accepts: ClassVar[frozenset[Form]] = frozenset({"energy"})
    reads: ClassVar[frozenset[Target]] = frozenset({"class", "labels", "values", "none"})

    def __init__(self, negatives: NegativeData | ByName = "hybrid", normalise: Normalise = "rms") -> None:
        super().__init__()
        self.negatives: NegativeData = part("negative", negatives)
        self.normalise = normalise

    def setup(self, context: Context) -> tuple[int, ...]:
        """See `ffcore.interfaces.Algorithm.setup`.

        Raises:
            ValueError: when there is no readout, or the negatives are wrong labels.
        """
        if not context.readouts and (context.task is None or context.task.target != "none"):
            raise ValueError("without labels only a readout learns classes: add one under `readouts`")
        if self.negatives.hypotheses:
            raise ValueError(
                "without labels negatives must be samples, such as hybrid; these are wrong labels"
            )
        self.negatives.setup(context)
        return context.shape

    def sources(self, net: Network) -> tuple[Source, ...]:
        """Return the readouts, since goodness does not depend on the class; without any the blocks."""
        return tuple(s for s in net.sources if s.role == "readout" or not tuple(net.readouts))

    def evidence(self, x: Tensor, net: Network) -> list[Tensor]:
        """Return an empty list, since blocks give no evidence; without readouts their goodness, (N, 1)."""
        if tuple(net.readouts):
            return []
        return [goodness.unsqueeze(1) for goodness in net.goodness(self.neutral(x))]

    def neutral(self, x: Tensor, y: Tensor | None = None) -> Views:
        """Return the normalised samples as one view."""
        return Views(x=self._normalised(x), roles=("neutral",), sizes=(x.shape[0],), y=y)

    def views(self, batch: Batch, net: Network) -> Views:
        """Return N samples, then N negative samples."""

        def no_probabilities() -> Tensor:
            raise AssertionError("negative samples do not use probabilities")

        n = batch.x.shape[0]
        negative, _ = self.negatives.of(batch, None, no_probabilities)
        x = self._normalised(torch.cat([batch.x, negative]))
        return Views(x=x, roles=("positive", "negative"), sizes=(n, n), y=batch.y)

    def _normalised(self, x: Tensor) -> Tensor:
        return normalised(x, self.normalise) if x.is_floating_point() else x  # tokens
