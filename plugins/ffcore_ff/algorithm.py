"""The Forward-Forward algorithm.

N samples; K classes; L sources of evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from ffcore.interfaces import Algorithm, Batch, LabelCode, NegativeData, Network, Views
from ffcore.interfaces.goodness import Kind


class ForwardForward(Algorithm):
    """Every block learns to find positive data good and negative data bad (Hinton 2022, arXiv:2212.13345).

    Positive data are samples with their own label. If the recipe has readouts, each batch also makes one
    neutral pass (no label) on which they learn, before the blocks do. A class's evidence is the goodness of
    each block for the sample with that class's label; that of a readout are its logits on a neutral pass.

    Args:
        labels: how a label is written into an input.
        negatives: where negative data comes from.
        rows: how many labelled inputs predicting sends through the network at once, so that memory does not
            grow with the number of classes; a single sample under all its labels always goes at once.
    """

    accepts: ClassVar[frozenset[Kind]] = frozenset({"energy"})

    def __init__(self, labels: LabelCode, negatives: NegativeData, rows: int = 2000) -> None:
        super().__init__()
        self.labels = labels
        self.negatives = negatives
        self.rows = rows

    def prepare(self, shape: tuple[int, ...], classes: int, net_readouts: tuple[str, ...]) -> tuple[int, ...]:
        """See `ffcore.interfaces.Algorithm.prepare`.

        Raises:
            ValueError: when the negatives need a readout and the recipe has none.
        """
        if not self.negatives.claims:
            raise ValueError(
                "negatives that are images claim no class; use them with forward-forward-unsupervised"
            )
        if self.negatives.needs_probabilities and not net_readouts:
            raise ValueError(
                "negatives are drawn from a readout's distribution, but the recipe has no readout"
            )
        self.classes = classes
        self.negatives.prepare(shape, classes)
        return self.labels.prepare(shape, classes)

    def neutral(self, x: Tensor, y: Tensor | None = None) -> Views:
        """The samples with the neutral label code."""
        joined = self.labels.join(x, self.labels.code(None, len(x)))
        return Views(x=joined, roles=("neutral",), sizes=(len(x),), y=y)

    def learn(self, batch: Batch, net: Network) -> None:
        """Readouts on a neutral pass first, then the blocks; negatives see the readout before its update."""
        logits: dict[str, Tensor] = {}
        if tuple(net.readouts):
            logits = net.read(self.neutral(batch.x, batch.y), learn=True)
        net.learn(self._views(batch, lambda: logits))

    def views(self, batch: Batch, net: Network) -> Views:
        """N positives, then N negatives."""
        return self._views(batch, lambda: net.read(self.neutral(batch.x)))

    def _views(self, batch: Batch, readouts: Callable[[], dict[str, Tensor]]) -> Views:
        def probs() -> Tensor:
            return next(iter(readouts().values())).softmax(1)

        n = len(batch.x)
        x_negative, y_negative = self.negatives(batch.x, batch.y, probs, batch.random())
        assert y_negative is not None, "negatives that claim no class were refused in prepare"
        claim = torch.cat([batch.y, y_negative])
        shared = x_negative is batch.x
        x = self.labels.join(
            batch.x if shared else torch.cat([batch.x, x_negative]), self.labels.code(claim, 2 * n)
        )
        return Views(x=x, roles=("positive", "negative"), sizes=(n, n), y=batch.y, claim=claim)

    def evidence(self, x: Tensor, net: Network) -> list[Tensor]:
        """Goodness of each block for the samples under each label, (N, K) each."""
        parts = [self._tried(some, net) for some in torch.split(x, max(1, self.rows // self.classes))]
        return [torch.cat(of_block) for of_block in zip(*parts, strict=True)]

    def _tried(self, x: Tensor, net: Network) -> list[Tensor]:
        """The evidence of so few samples that all hypotheses go through the network at once."""
        n, k = len(x), self.classes
        claim = torch.arange(k, device=x.device).repeat_interleave(n)
        hypotheses = Views(
            x=self.labels.join(x, self.labels.code(claim, k * n)),
            roles=tuple(f"class {c}" for c in range(k)),
            sizes=(n,) * k,
            claim=claim,
        )
        return [goodness.view(k, n).T for goodness in net.goodness(hypotheses)]
