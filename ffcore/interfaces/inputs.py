"""The contracts of augmentations, label codes and negative data, which make the inputs of a network.

N samples; V views; K classes; M features of a label code.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from ffcore.interfaces.batch import Batch
from ffcore.interfaces.batch_rng import BatchRNG
from ffcore.interfaces.component import Component
from ffcore.interfaces.context import Context
from ffcore.interfaces.ranks import ranks


class Augmentation(Component):
    """Changes each training sample at random without changing its class."""

    def setup(self, context: Context) -> None:
        """Check the samples. Called before the other methods.

        Args:
            context: ``shape`` of one sample; ``statistics``, such as the mean and the standard deviation with
                which values in [0, 1] have been standardised.

        Raises:
            ValueError: when the augmentation does not apply to such samples.
        """

    @abstractmethod
    def forward(self, x: Tensor, rng: BatchRNG) -> Tensor:
        """Return changed samples, (N, *shape) → (N, *shape), on the device of ``x``.

        Takes all random numbers from ``rng``.
        """


class LabelCode(Component):
    """Writes a class into an input.

    Attributes:
        reads_tokens: whether samples are sequences of integers (T,), not floats.
    """

    reads_tokens: ClassVar[bool] = False

    def setup(self, context: Context) -> tuple[int, ...]:
        """Make the codes. Called before the other methods.

        Args:
            context: the context of the algorithm: ``shape`` of one sample, ``classes``.

        Returns:
            Shape of one labelled input, for the network's first layer.

        Raises:
            ValueError: when the number of classes is too large for the samples.
        """
        return context.shape

    @abstractmethod
    def code(self, y: Tensor | None, n: int) -> Tensor:
        """Return the codes (n, M) of classes ``y`` (n,). None: the neutral code, which favours no class."""

    @abstractmethod
    def join(self, x: Tensor, code: Tensor) -> Tensor:
        """Write codes (V·N, M) into inputs (N, *shape), view by view.

        Returns:
            V·N rows, a tensor or a `LabelledInput`.
        """


class NegativeData(Component):
    """Makes negatives. A sample never gets its own class as the hypothesis."""

    needs_probabilities: ClassVar[bool] = False
    """Whether it calls ``probs``; if so, the recipe needs a readout."""

    couples_samples: ClassVar[bool] = False
    """Whether a negative depends on several samples of the batch; if so, `of` gathers them over ranks."""

    hypotheses: ClassVar[bool] = True
    """Whether negatives have a (wrong) hypothesis; False for negatives that are other images."""

    def setup(self, context: Context) -> None:
        """Check the samples. Called before the other methods.

        Args:
            context: the context of the algorithm: ``shape`` of one sample, ``classes``, and ``statistics`` if
                the data have been read.

        Raises:
            ValueError: when negatives of such samples cannot be made, or would differ from positives in their
                range of values.
        """

    _known = False  # whether the first negatives have been checked

    def of(self, batch: Batch, y: Tensor | None, probs: Callable[[], Tensor]) -> tuple[Tensor, Tensor | None]:
        """Return the negatives of this rank's share of a batch; see `forward`. Algorithms call this.

        Raises:
            ValueError: when the first negatives have a wrong type or shape, hypotheses below 0, or the
                classes of their samples as hypotheses.
        """
        group = ranks()
        if group.world == 1 or not self.couples_samples:
            return self._checked(batch.x, y, self(batch.x, y, probs, batch.random()))
        # Every rank makes the negatives of the global batch and keeps those of its own rows.
        whole = batch.whole()
        made = self(whole.x, None if y is None else whole.y, lambda: group.rows(probs()), whole.random())
        x, hypotheses = self._checked(whole.x, None if y is None else whole.y, made)
        own = slice(batch.first, batch.first + batch.x.shape[0])
        return x[own], None if hypotheses is None else hypotheses[own]

    def _checked(self, x: Tensor, y: Tensor | None, made: Any) -> tuple[Tensor, Tensor | None]:
        """Return the negatives; the first ones are checked."""
        if not self._known:
            _refuse_wrong(made, x, y, self.hypotheses)
            self._known = True
        negatives: tuple[Tensor, Tensor | None] = made
        return negatives

    @abstractmethod
    def forward(
        self, x: Tensor, y: Tensor | None, probs: Callable[[], Tensor], rng: BatchRNG
    ) -> tuple[Tensor, Tensor | None]:
        """Return negative samples and their hypotheses.

        Args:
            x: (N, *shape) positive samples.
            y: (N,) their classes, or None.
            probs: returns (N, K) class probabilities of the network's readout; runs a pass when called.
            rng: random numbers of this batch.

        Returns:
            (N, *shape) samples (``x`` itself if only the hypothesis is wrong) and (N,) hypotheses or None.
        """


def _refuse_wrong(made: Any, x: Tensor, y: Tensor | None, hypotheses: bool) -> None:
    """Raise if negatives or their hypotheses have a wrong type or shape, or are positives."""
    right = f"a pair: samples {tuple(x.shape)} and hypotheses ({len(x)},) of integers, or None"
    if not isinstance(made, tuple | list) or len(made) != 2:
        raise ValueError(f"negatives: returned {type(made).__name__}; it should be {right}")
    samples, wrong = made
    fits = isinstance(samples, Tensor) and samples.shape == x.shape
    if wrong is not None:
        fits = (
            fits and isinstance(wrong, Tensor) and wrong.shape == (len(x),) and not wrong.is_floating_point()
        )
    if not fits or (hypotheses and wrong is None):
        given = [
            f"{tuple(t.shape)} of {t.dtype}" if isinstance(t, Tensor) else type(t).__name__ for t in made
        ]
        raise ValueError(f"negatives: returned {given[0]} and {given[1]}; it should be {right}")
    if wrong is not None and len(wrong) and int(wrong.min()) < 0:
        raise ValueError(f"negatives: a hypothesis is {int(wrong.min())}; classes begin at 0")
    if wrong is not None and samples is x and y is not None and len(y) and not (wrong != y).any():
        raise ValueError("negatives: the hypotheses are the samples' own classes; they should be wrong ones")
