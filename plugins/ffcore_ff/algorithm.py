"""The Forward-Forward algorithm.

N samples; K classes; L sources of evidence.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

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
    c99,
)
from ffcore.interfaces.goodness import Form
from ffcore.options import ByName, Count
from ffcore.parts import part
from ffcore_ff.negatives import Hard, WrongLabel
from ffcore_ff.patterns import LabelChannel, Pattern


class ForwardForward(Algorithm):
    """Forward-Forward with labels in the input (Hinton 2022, arXiv:2212.13345).

    Every block learns to give positives a high and negatives a low goodness. Positives are samples with their
    own label. If the recipe has readouts, they learn first, from a neutral pass of each batch. The evidence
    of a block for a class is its goodness for the sample with that class as the label; that of a readout is
    its logits on a neutral pass.

    Args:
        labels: writes a label into an input; None for a circuit, which gets the label itself.
        negatives: makes the negatives.
        rows: maximum number of labelled inputs in one pass of a prediction, to limit memory. All labels of
            one sample always share a pass.
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
        self._logits: dict[str, Tensor] | None = None  # of readouts, for the batch that is being learned

    def setup(self, context: Context) -> tuple[int, ...]:
        """See `ffcore.interfaces.Algorithm.setup`.

        Raises:
            ValueError: when the negatives need a readout and the recipe has none.
        """
        if not self.negatives.hypotheses:
            raise ValueError("negative images have no hypothesis; use them with forward-forward-unsupervised")
        if self.negatives.needs_probabilities and not context.readouts:
            raise ValueError(
                "negatives are drawn from a readout's distribution, but the recipe has no readout"
            )
        if self.negatives.needs_probabilities:
            self.whole_network = "negatives depend on a readout of all blocks"
        self.classes = context.classes
        self.negatives.setup(context)
        if self.labels is None:
            return context.shape
        shape: Any = self.labels.setup(context)
        sides = isinstance(shape, tuple | list) and all(type(side) is int and side > 0 for side in shape)
        if not sides or math.prod(shape) >= 2**31:
            name = type(self.labels).__name__
            raise ValueError(
                f"labels: setup of {name} returned {shape!r}; it should return the shape of one input"
            )
        return tuple(shape)

    def connect(self, net: Network) -> None:
        """See `ffcore.interfaces.Algorithm.connect`.

        Raises:
            ValueError: when both the input and a circuit contain the label, or neither does, or the first
                layer reads another label code.
        """
        one_hot = isinstance(self.labels, Pattern) and self.labels.pattern == "one-hot"
        if not one_hot and any(isinstance(block.body, LabelChannel) for block in net.blocks):
            raise ValueError(
                "label-channel reads another label code; set labels: {kind: pattern, pattern: one-hot, "
                "normalise: none}"
            )
        if net.circuits and self.labels is not None:
            raise ValueError(
                "a circuit is clamped to the label, which the input must not contain; set labels: null"
            )
        if not net.circuits and self.labels is None:
            raise ValueError(
                "labels: null is for circuits, such as kind: recurrent; this network does not get the label"
            )

    def neutral(self, x: Tensor, y: Tensor | None = None) -> Views:
        """Return the samples with the neutral label code."""
        n = x.shape[0]  # not len(): torch.export would fix the number
        return Views(self._labelled(x, None, n), ("neutral",), (n,), y=y)

    def _labelled(self, x: Tensor, hypothesis: Tensor | None, rows: int) -> Tensor:
        """Return ``rows`` inputs, view by view, with the codes of their hypotheses."""
        if self.labels is None:
            return LabelledInput(x, x.new_empty(rows, 0))
        return self.labels.join(x, self.labels.code(hypothesis, rows))

    def learn(self, batch: Batch, net: Network) -> None:
        """Train the readouts on a neutral pass, then the blocks.

        Hard negatives use the readout's logits from before its update.
        """
        if tuple(net.readouts):
            self._logits = net.read(self.neutral(batch.x, batch.y), learn=True)
        try:
            views = self.views(batch, net)
        finally:
            self._logits = None
        net.learn(views)

    def views(self, batch: Batch, net: Network) -> Views:
        """Return N positives, then N negatives."""

        def probs() -> Tensor:
            logits = self._logits if self._logits is not None else net.read(self.neutral(batch.x))
            return next(iter(logits.values())).softmax(1)

        n = batch.x.shape[0]
        x_negative, y_negative = self.negatives.of(batch, batch.y, probs)
        assert y_negative is not None, "setup has refused negatives without hypotheses"
        hypothesis = torch.cat([batch.y, y_negative])
        # a label code repeats samples that both views share, without a copy
        x = batch.x if x_negative is batch.x else torch.cat([batch.x, x_negative])
        views = self._labelled(x, hypothesis, 2 * n)
        return Views(
            views, ("positive", "negative"), (n, n), y=batch.y, hypothesis=hypothesis, rng=batch.random()
        )

    def evidence(self, x: Tensor, net: Network) -> list[Tensor]:
        """Return the goodness of each block for each hypothesis, (N, K) each."""
        most = max(1, self.rows // self.classes)
        # in an exported program the number of samples is not known
        if torch.compiler.is_exporting() or x.shape[0] <= most:
            return self._tried(x, net)
        parts = [self._tried(some, net) for some in torch.split(x, most)]
        return [torch.cat(of_block) for of_block in zip(*parts, strict=True)]

    def _tried(self, x: Tensor, net: Network) -> list[Tensor]:
        """Return the evidence of a few samples, with all hypotheses in one pass."""
        n, k = x.shape[0], self.classes
        hypothesis = torch.arange(k, device=x.device).unsqueeze(1).expand(k, n).reshape(-1)
        hypotheses = Views(
            x=self._labelled(x, hypothesis, k * n),
            roles=tuple(f"class {c}" for c in range(k)),
            sizes=(n,) * k,
            hypothesis=hypothesis,
        )
        return [goodness.view(k, n).T for goodness in net.goodness(hypotheses)]

    def c99(self) -> c99.Contrast:
        """Return the C form; see `ffcore.interfaces.c99`.

        Raises:
            ValueError: when the label code has none.
        """
        if "c99" not in vars(type(self.labels)):
            raise ValueError(f"labels {type(self.labels).__name__} have no C form; use overlay or prefix")
        code: Any = self.labels
        return c99.Contrast(code.c99(), keeps_samples=type(self.negatives) in (WrongLabel, Hard))
