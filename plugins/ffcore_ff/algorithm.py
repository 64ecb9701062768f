"""The Forward-Forward algorithm.

N samples; K classes; L sources of evidence.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ffcore.interfaces import (
    Algorithm,
    Batch,
    Context,
    LabelCode,
    LabelledInput,
    NegativeData,
    Network,
    Views,
)
from ffcore.interfaces.goodness import Form
from ffcore.options import ByName, Count
from ffcore.parts import part


class ForwardForward(Algorithm):
    """Every block learns to find positive data good and negative data bad (Hinton 2022, arXiv:2212.13345).

    Positive data are samples with their own label. If the recipe has readouts, each batch also makes one
    neutral pass (no label) on which they learn, before the blocks do. A class's evidence is the goodness of
    each block for the sample with that class's label; that of a readout are its logits on a neutral pass.

    Args:
        labels: how a label is written into an input; None: it is not, a circuit is clamped to it.
        negatives: where negative data comes from.
        rows: how many labelled inputs predicting sends through the network at once, so that memory does not
            grow with the number of classes; a single sample under all its labels always goes at once.
    """

    accepts: ClassVar[frozenset[Form]] = frozenset({"energy"})
    hypotheses: ClassVar[bool] = True
    examples = ({"negatives": "hard"},)

    def __init__(
        self,
        labels: LabelCode | ByName | None = "overlay",
        negatives: NegativeData | ByName = "wrong-label",
        rows: Count = 2000,
    ) -> None:
        super().__init__()
        self.labels: LabelCode | None = None if labels is None else part("label", labels)
        self.negatives: NegativeData = part("negative", negatives)
        self.rows = rows
        self._said: dict[str, Tensor] | None = None  # by readouts, of the batch that is being learned

    def setup(self, context: Context) -> tuple[int, ...]:
        """See `ffcore.interfaces.Algorithm.setup`.

        Raises:
            ValueError: when the negatives need a readout and the recipe has none.
        """
        if not self.negatives.hypotheses:
            raise ValueError(
                "negatives that are images claim no class; use them with forward-forward-unsupervised"
            )
        if self.negatives.needs_probabilities and not context.readouts:
            raise ValueError(
                "negatives are drawn from a readout's distribution, but the recipe has no readout"
            )
        if self.negatives.needs_probabilities:
            self.whole_network = "negatives are drawn from what a readout says of all blocks"
        self.classes = context.classes
        self.negatives.setup(context)
        return context.shape if self.labels is None else self.labels.setup(context)

    def connect(self, net: Network) -> None:
        """See `ffcore.interfaces.Algorithm.connect`.

        Raises:
            ValueError: when the label reaches the network twice, or not at all.
        """
        if net.circuits and self.labels is not None:
            raise ValueError(
                "a circuit is clamped to the label, which the input must not show; set labels: null"
            )
        if not net.circuits and self.labels is None:
            raise ValueError(
                "labels: null is for circuits, such as kind: recurrent; here nothing sees the label"
            )

    def neutral(self, x: Tensor, y: Tensor | None = None) -> Views:
        """The samples with the neutral label code."""
        return Views(self._labelled(x, None, len(x)), ("neutral",), (len(x),), y=y)

    def _labelled(self, x: Tensor, hypothesis: Tensor | None, rows: int) -> Tensor:
        """So many rows of inputs, view by view, with the code of the class that each claims."""
        if self.labels is None:
            return LabelledInput(x, x.new_empty(rows, 0))
        return self.labels.join(x, self.labels.code(hypothesis, rows))

    def learn(self, batch: Batch, net: Network) -> None:
        """Readouts on a neutral pass first, then the blocks; negatives see the readout before its update."""
        if tuple(net.readouts):
            self._said = net.read(self.neutral(batch.x, batch.y), learn=True)
        try:
            views = self.views(batch, net)
        finally:
            self._said = None
        net.learn(views)

    def views(self, batch: Batch, net: Network) -> Views:
        """N positives, then N negatives."""

        def probs() -> Tensor:
            said = self._said if self._said is not None else net.read(self.neutral(batch.x))
            return next(iter(said.values())).softmax(1)

        n = len(batch.x)
        x_negative, y_negative = self.negatives.of(batch, batch.y, probs)
        assert y_negative is not None, "negatives that claim no class were refused in setup"
        hypothesis = torch.cat([batch.y, y_negative])
        x = batch.x if x_negative is batch.x else torch.cat([batch.x, x_negative])
        views = self._labelled(x, hypothesis, 2 * n)
        return Views(
            views, ("positive", "negative"), (n, n), y=batch.y, hypothesis=hypothesis, rng=batch.random()
        )

    def evidence(self, x: Tensor, net: Network) -> list[Tensor]:
        """Goodness of each block for the samples under each label, (N, K) each."""
        parts = [self._tried(some, net) for some in torch.split(x, max(1, self.rows // self.classes))]
        return [torch.cat(of_block) for of_block in zip(*parts, strict=True)]

    def _tried(self, x: Tensor, net: Network) -> list[Tensor]:
        """The evidence of so few samples that all hypotheses go through the network at once."""
        n, k = len(x), self.classes
        hypothesis = torch.arange(k, device=x.device).repeat_interleave(n)
        hypotheses = Views(
            x=self._labelled(x, hypothesis, k * n),
            roles=tuple(f"class {c}" for c in range(k)),
            sizes=(n,) * k,
            hypothesis=hypothesis,
        )
        return [goodness.view(k, n).T for goodness in net.goodness(hypotheses)]
