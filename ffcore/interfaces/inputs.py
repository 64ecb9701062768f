"""The contracts of what enters a network: augmentations, label codes and negative data."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from ffcore.interfaces.batch import Batch
from ffcore.interfaces.batch_rng import BatchRNG
from ffcore.interfaces.component import Component
from ffcore.interfaces.context import Context
from ffcore.interfaces.ranks import ranks


class Augmentation(Component):
    """Changes training samples a little, each one differently; classes stay."""

    def setup(self, context: Context) -> None:
        """Look at what samples are, before anything else is called.

        Args:
            context: ``shape`` of one sample; ``statistics``, such as the mean and the standard deviation that
                values in [0, 1] have been standardised by.

        Raises:
            ValueError: when it cannot change such samples.
        """

    @abstractmethod
    def forward(self, x: Tensor, rng: BatchRNG) -> Tensor:
        """(N, *shape) → (N, *shape), on the device of ``x``, with the random numbers of ``rng``."""


class LabelCode(Component):
    """How a label is written into an input."""

    def setup(self, context: Context) -> tuple[int, ...]:
        """Make the codes, before anything else is called.

        Args:
            context: that of the algorithm: ``shape`` of one sample, ``classes``.

        Returns:
            Shape of one labelled input, for the network's first layer.

        Raises:
            ValueError: when so many classes do not fit.
        """
        return context.shape

    @abstractmethod
    def code(self, y: Tensor | None, n: int) -> Tensor:
        """(n, M) codes of the classes ``y`` (n,); None gives the neutral code, which favours no class."""

    @abstractmethod
    def join(self, x: Tensor, code: Tensor) -> Tensor:
        """Inputs (N, *shape) with codes (V·N, M), view by view: V·N rows, a tensor or a `LabelledInput`."""


class NegativeData(Component):
    """Where negative data comes from. It never labels a sample with its own class."""

    needs_probabilities: ClassVar[bool] = False
    """Whether ``probs`` is called: the recipe then needs a readout."""

    couples_samples: ClassVar[bool] = False
    """Whether a negative is made of several samples of the batch: `of` gathers them over ranks then."""

    hypotheses: ClassVar[bool] = True
    """Whether negatives claim a (wrong) class; False for images that are wrong in themselves."""

    def setup(self, context: Context) -> None:
        """Look at what samples are, before anything else is called.

        Args:
            context: that of the algorithm: ``shape`` of one sample, ``classes``, and ``statistics`` where the
                data have been read.

        Raises:
            ValueError: when there are no negatives of such samples, or their values alone would tell them
                from positives.
        """

    def of(self, batch: Batch, y: Tensor | None, probs: Callable[[], Tensor]) -> tuple[Tensor, Tensor | None]:
        """What algorithms call: negatives of this rank's share of a batch; see `forward`."""
        group = ranks()
        if group.world == 1 or not self.couples_samples:
            return self(batch.x, y, probs, batch.random())  # type: ignore[no-any-return]
        whole = batch.whole()
        x, hypotheses = self(
            whole.x, None if y is None else whole.y, lambda: group.rows(probs()), whole.random()
        )
        mine = slice(batch.first, batch.first + len(batch.x))
        return x[mine], None if hypotheses is None else hypotheses[mine]

    @abstractmethod
    def forward(
        self, x: Tensor, y: Tensor | None, probs: Callable[[], Tensor], rng: BatchRNG
    ) -> tuple[Tensor, Tensor | None]:
        """Negative samples and the classes they claim.

        Args:
            x: (N, *shape) positive samples.
            y: (N,) their classes, or None.
            probs: (N, K) class probabilities by the network's readout; evaluated only when called.
            rng: random numbers of this batch.

        Returns:
            (N, *shape) samples (``x`` itself where only the label is wrong) and (N,) claimed classes or None.
        """
